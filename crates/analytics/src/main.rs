//! See the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    aegle_analytics::main()
}
