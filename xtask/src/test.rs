//! `cargo xtask test`

use anyhow::Result;

use crate::{flags::TestFlags, shell};

pub(crate) async fn run(flags: TestFlags) -> Result<()> {
    shell::run(shell::cargo(["test", "--workspace"]).args(flags.arguments)).await
}
