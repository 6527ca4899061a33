//! A real `jero serve` for tests about what the command says of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A scheduler that ends with the test.
pub struct Scheduler {
    process: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Scheduler {
    /// With these further lines of configuration; its files have this name.
    pub fn start(directory: &Path, name: &str, further: &str) -> Self {
        let data = directory.join(name);
        let config = data.with_extension("toml");
        let text = format!("listen = \"127.0.0.1:0\"\ndata_dir = \"{name}\"\n{further}");
        std::fs::write(&config, text).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_jero"))
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(data.with_extension("log")).unwrap())
            .spawn()
            .unwrap();
        let mut scheduler = Self {
            process,
            address: String::new(),
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while scheduler.address.is_empty() {
            assert!(Instant::now() < deadline, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(20));
            let written = std::fs::read_to_string(data.join("address"));
            scheduler.address = written.unwrap_or_default().trim().to_owned();
        }
        scheduler
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
