//! The attempt shim alone: `attempt-shim attempt-shim DIR` or `attempt-shim DIR`.
//!
//! The same code as `jero attempt-shim DIR`, in an executable small enough to be
//! put into a container as its entry point. The tests of this crate, which has
//! no `jero`, start their shims with it.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [verb, dir] if verb == jeroboam_agent::drivers::process::SHIM_VERB => run(Path::new(dir)),
        [dir] => run(Path::new(dir)),
        _ => {
            eprintln!("usage: attempt-shim DIR");
            ExitCode::from(2)
        }
    }
}

fn run(dir: &Path) -> ExitCode {
    jeroboam_agent::shim::main(dir)
}
