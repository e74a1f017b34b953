//! The container's program: `reference-model train`, `reference-model serve`.

use std::process::ExitCode;

fn main() -> ExitCode {
    reference_model::main_with(std::env::args_os())
}
