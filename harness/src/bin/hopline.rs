//! hopline
fn main() {}
