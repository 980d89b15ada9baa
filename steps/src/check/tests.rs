//! One test a kind of problem: what QA reads, to the letter where it is ours.
