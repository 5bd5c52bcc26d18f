//! Tasks of the workspace: bless, listings, journeys, Miri, what continuous integration runs.

fn main() {}
