//! cfgsync in operation: written files, served configurations, the two binaries.
