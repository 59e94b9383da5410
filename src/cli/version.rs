//! `raincheck version`.

use super::{Failure, Screen};

pub(super) fn run(screen: &mut Screen<'_>) -> Result<(), Failure> {
    writeln!(screen.out, "raincheck {}", env!("CARGO_PKG_VERSION"))?;
    Ok(())
}
