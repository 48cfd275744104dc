//! What the tests of the rings share.
