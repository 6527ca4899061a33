//! Contents kept on this site for later attempts.
//!
//! ```text
//! <state_dir>/cache/<boot id>/<digest>        whole, checked when it came
//! <state_dir>/cache/<boot id>/<digest>.part   on its way
//! ```
//!
//! Rules: attempts get copies, so none can change what another gets; nothing is
//! synced, so what an earlier boot kept is thrown away; beyond the bound the
//! content not used for longest goes first. A content larger than the bound is
//! kept only until it was copied once.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::content::is_digest;
use crate::attempt::{AttemptError, boot};

/// The kept contents. All calls block for as long as a copy takes. Clones
/// share it.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    dir: PathBuf,
    bytes_max: u64,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: u64,
    uses: u64,
    by_digest: HashMap<String, Content>,
    /// By last use.
    by_use: BTreeMap<u64, String>,
    /// One download at a time of each.
    gates: HashMap<String, Weak<tokio::sync::Mutex<()>>>,
}

#[derive(Debug)]
struct Content {
    size_bytes: u64,
    used: u64,
}

impl Cache {
    /// Finds what this boot kept; clears away the rest.
    pub fn open(root: PathBuf, bytes_max: u64) -> Result<Self, AttemptError> {
        let dir = root.join(boot::boot_id());
        fs::create_dir_all(&dir).map_err(AttemptError::io("create", &dir))?;
        for entry in fs::read_dir(&root).map_err(AttemptError::io("list", &root))? {
            let path = entry.map_err(AttemptError::io("list", &root))?.path();
            if path != dir {
                fs::remove_dir_all(&path).map_err(AttemptError::io("remove", &path))?;
            }
        }
        let cache = Self {
            dir,
            bytes_max,
            kept: Arc::default(),
        };
        cache.find_kept()?;
        Ok(cache)
    }

    fn find_kept(&self) -> Result<(), AttemptError> {
        let listed = fs::read_dir(&self.dir).map_err(AttemptError::io("list", &self.dir))?;
        for entry in listed {
            let entry = entry.map_err(AttemptError::io("list", &self.dir))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if is_digest(&name) {
                let metadata = entry
                    .metadata()
                    .map_err(AttemptError::io("look at", &path))?;
                self.kept().add(&name, metadata.len());
            } else {
                // Partly there, and nobody may want it any more.
                fs::remove_file(&path).map_err(AttemptError::io("remove", &path))?;
            }
        }
        self.trim();
        Ok(())
    }

    /// Where a content on its way is written.
    pub fn part(&self, digest: &str) -> PathBuf {
        self.dir.join(format!("{digest}.part"))
    }

    /// Whoever holds it may download this content.
    pub fn gate(&self, digest: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut kept = self.kept();
        kept.gates.retain(|_, gate| gate.strong_count() > 0);
        if let Some(gate) = kept.gates.get(digest).and_then(Weak::upgrade) {
            return gate;
        }
        let gate = Arc::default();
        kept.gates.insert(digest.to_owned(), Arc::downgrade(&gate));
        gate
    }

    /// Takes in the checked content that is in its part file.
    pub fn keep(&self, digest: &str, size_bytes: u64) -> io::Result<()> {
        fs::rename(self.part(digest), self.dir.join(digest))?;
        self.kept().add(digest, size_bytes);
        Ok(())
    }

    /// Copies a content to where an attempt wants it; `false` if it is not here.
    pub fn copy(&self, digest: &str, to: &Path, executable: bool) -> io::Result<bool> {
        if !self.kept().touch(digest) {
            return Ok(false);
        }
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir)?;
        }
        // Once open it may be removed meanwhile.
        let mut from = match fs::File::open(self.dir.join(digest)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.kept().forget(digest);
                return Ok(false);
            }
            opened => opened?,
        };
        io::copy(&mut from, &mut fs::File::create(to)?)?;
        let mode = if executable { 0o755 } else { 0o644 };
        fs::set_permissions(to, Permissions::from_mode(mode))?;
        self.trim();
        Ok(true)
    }

    /// Removes what is too much.
    fn trim(&self) {
        while let Some(digest) = self.kept().pop_over(self.bytes_max) {
            let path = self.dir.join(&digest);
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "a kept input cannot be removed");
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // No method leaves it half changed.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, digest: &str, size_bytes: u64) {
        self.forget(digest);
        self.uses += 1;
        let used = self.uses;
        self.bytes += size_bytes;
        self.by_use.insert(used, digest.to_owned());
        let content = Content { size_bytes, used };
        self.by_digest.insert(digest.to_owned(), content);
    }

    fn touch(&mut self, digest: &str) -> bool {
        let Some(content) = self.by_digest.get_mut(digest) else {
            return false;
        };
        self.uses += 1;
        self.by_use.remove(&content.used);
        content.used = self.uses;
        self.by_use.insert(self.uses, digest.to_owned());
        true
    }

    fn forget(&mut self, digest: &str) {
        if let Some(content) = self.by_digest.remove(digest) {
            self.by_use.remove(&content.used);
            self.bytes -= content.size_bytes;
        }
    }

    fn pop_over(&mut self, bytes_max: u64) -> Option<String> {
        if self.bytes <= bytes_max {
            return None;
        }
        let (_, digest) = self.by_use.first_key_value()?;
        let digest = digest.clone();
        self.forget(&digest);
        Some(digest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::files::content::digest_of;

    fn put(cache: &Cache, content: &[u8]) -> String {
        let digest = digest_of(content);
        fs::write(cache.part(&digest), content).unwrap();
        cache.keep(&digest, content.len() as u64).unwrap();
        digest
    }

    #[test]
    fn a_copy_cannot_change_what_the_next_one_gets() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache"), 100).unwrap();
        let digest = put(&cache, b"one");
        let (first, second) = (dir.path().join("a/b/first"), dir.path().join("second"));
        assert!(cache.copy(&digest, &first, true).unwrap());
        fs::write(&first, "spoilt").unwrap();
        assert!(cache.copy(&digest, &second, false).unwrap());
        assert_eq!(fs::read(&second).unwrap(), b"one");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&first), mode(&second)), (0o755, 0o644));
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache"), 8).unwrap();
        let to = dir.path().join("out");
        let (one, two) = (put(&cache, b"1111"), put(&cache, b"2222"));
        assert!(cache.copy(&one, &to, false).unwrap());
        let three = put(&cache, b"3333");
        assert!(cache.copy(&three, &to, false).unwrap());
        assert!(!cache.copy(&two, &to, false).unwrap());
        assert!(cache.copy(&one, &to, false).unwrap());
        let huge = put(&cache, b"larger than all");
        assert!(cache.copy(&huge, &to, false).unwrap());
        assert_eq!(fs::read(&to).unwrap(), b"larger than all");
        assert!(
            !cache.copy(&huge, &to, false).unwrap(),
            "kept for one copy only"
        );
    }

    #[test]
    fn a_new_agent_finds_what_this_boot_kept_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("cache");
        let digest = put(&Cache::open(root.clone(), 100).unwrap(), b"one");
        fs::create_dir(root.join("an-earlier-boot")).unwrap();
        let cache = Cache::open(root.clone(), 100).unwrap();
        assert!(cache.copy(&digest, &dir.path().join("out"), false).unwrap());
        assert!(!root.join("an-earlier-boot").exists());
    }
}
