//! What a job executes: program, arguments and environment, found and encoded
//! before anything is forked, so that every mistake has a message.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::environment::{self, PATH};
use crate::attempt::{AttemptDir, LeaseRecord};

/// A command ready for `execve`.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) program: CString,
    pub(super) arguments: Vec<CString>,
    pub(super) environment: Vec<CString>,
    pub(super) directory: PathBuf,
}

impl Command {
    /// The command of a lease, or why it cannot be started.
    pub(super) fn new(
        lease: &LeaseRecord,
        dir: &AttemptDir,
        exe: &Path,
        user: &str,
    ) -> Result<Self, String> {
        if !lease.runtime.is_empty() {
            return Err(format!(
                "processes run in no container, so there is no runtime `{}`; the node was declared with one by mistake",
                lease.runtime
            ));
        }
        let name = lease
            .command
            .first()
            .ok_or("the command is empty; name a program")?;
        let variables = environment::environment(lease, dir, exe, user);
        let path = variables
            .get(OsStr::new("PATH"))
            .map_or(OsStr::new(PATH), |path| path);
        let program = find(name, path, &dir.scratch(), exe)?;
        let argument = |text: &String| {
            CString::new(text.as_str())
                .map_err(|_| format!("the argument {text:?} contains a NUL byte"))
        };
        Ok(Self {
            program: CString::new(program.as_os_str().as_bytes())
                .map_err(|_| format!("the program {name:?} contains a NUL byte"))?,
            arguments: lease
                .command
                .iter()
                .map(argument)
                .collect::<Result<_, _>>()?,
            environment: environment::encoded(variables)?,
            directory: dir.scratch(),
        })
    }

    /// Why `execve` or what went before it failed, for the job's owner.
    pub(super) fn failure(&self, errno: Errno) -> String {
        let program = self.program.to_string_lossy();
        let remedy = match errno {
            Errno::ENOENT => ": the interpreter that its first line names is missing",
            Errno::ENOEXEC => {
                ": it is neither a binary of this machine nor a script that begins with #!"
            }
            Errno::E2BIG => ": arguments and environment together are too long",
            Errno::EAGAIN | Errno::ENOMEM => ": the node is out of processes or memory",
            Errno::EMFILE | Errno::ENFILE => ": the node is out of file descriptors",
            _ => "",
        };
        format!("cannot start {program}: {}{remedy}", errno.desc())
    }
}

/// The file that `name` means: the word `jero` is this program, a name with a
/// slash is relative to the scratch directory, others are looked for on `path`.
fn find(name: &str, path: &OsStr, scratch: &Path, exe: &Path) -> Result<PathBuf, String> {
    if name == "jero" {
        return Ok(exe.to_owned());
    }
    if name.is_empty() {
        return Err("the program's name is empty".to_owned());
    }
    if name.contains('/') {
        let file = scratch.join(name);
        return match is_executable(&file) {
            Ok(true) => Ok(file),
            Ok(false) => Err(format!(
                "{name} is not executable; send it with its executable bit, or run it by its interpreter"
            )),
            Err(errno) => Err(format!(
                "program {name} cannot be run: {}; files of the batch must be named in inputs",
                errno.desc()
            )),
        };
    }
    std::env::split_paths(path)
        .map(|dir| scratch.join(dir).join(name))
        .find(|file| is_executable(file) == Ok(true))
        .ok_or_else(|| {
            format!(
                "program {name:?} not found on PATH ({}); name one that the site has, or send it as an input and call it ./{name}",
                path.to_string_lossy()
            )
        })
}

fn is_executable(file: &Path) -> Result<bool, Errno> {
    let metadata = std::fs::metadata(file)
        .map_err(|e| e.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    Ok(metadata.is_file() && access(file, AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use expect_test::{Expect, expect};

    use super::*;

    fn check(name: &str, expected: Expect) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plain.sh"), "echo").unwrap();
        let found = find(
            name,
            OsStr::new("/usr/bin:/bin"),
            dir.path(),
            Path::new("/opt/jero"),
        );
        expected.assert_eq(&format!("{found:?}"));
    }

    #[test]
    fn a_runtime_is_never_passed_over() {
        let lease = LeaseRecord {
            runtime: "runsc".to_owned(),
            ..crate::attempt::tests::lease(1)
        };
        let dir = tempfile::tempdir().unwrap();
        let attempt = AttemptDir::create(dir.path(), &lease).unwrap();
        let exe = Path::new("/opt/jero");
        let said = Command::new(&lease, &attempt, exe, "alice").unwrap_err();
        expect!["processes run in no container, so there is no runtime `runsc`; the node was declared with one by mistake"]
            .assert_eq(&said);
    }

    #[test]
    fn programs_are_found_or_said_to_be_missing() {
        check("jero", expect![[r#"Ok("/opt/jero")"#]]);
        check("env", expect![[r#"Ok("/usr/bin/env")"#]]);
        check("/usr/bin/env", expect![[r#"Ok("/usr/bin/env")"#]]);
        check(
            "no-such-program",
            expect![[
                r#"Err("program \"no-such-program\" not found on PATH (/usr/bin:/bin); name one that the site has, or send it as an input and call it ./no-such-program")"#
            ]],
        );
        check(
            "./plain.sh",
            expect![[
                r#"Err("./plain.sh is not executable; send it with its executable bit, or run it by its interpreter")"#
            ]],
        );
        check(
            "./missing.sh",
            expect![[
                r#"Err("program ./missing.sh cannot be run: No such file or directory; files of the batch must be named in inputs")"#
            ]],
        );
        check("", expect![[r#"Err("the program's name is empty")"#]]);
    }
}
