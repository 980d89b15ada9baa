//! What the composition root joins: fixtures on one side, the steps' ports on the other.

pub mod openraft;
pub mod squatter;
