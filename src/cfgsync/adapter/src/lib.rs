//! From registrations to artifacts: where an application's own rules plug in.
