//! How long the check before boot takes for a large suite; the goal is under 1 s for 1,000 scenarios, in the dev profile, with nothing started.
//!
//! In an ordinary build it prints and proves nothing: run it by `cargo bench -p trellis-steps --bench check --profile dev`.

use std::{fmt::Write as _, fs, time::Instant};

fn main() {
    println!("placeholder {:?}", Instant::now());
    let mut text = String::new();
    write!(text, "x").expect("a String takes any text");
    let _ = fs::metadata(text);
}
