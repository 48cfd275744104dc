//! Benchmarks of the rings.
