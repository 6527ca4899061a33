//! Kernels by their boot ids, and who has used each since it booted.
//!
//! The rule it keeps: what is said about a kernel here is never less than what ran on
//! it. Nodes that report one boot id (parts of one host) share its kernel. A kernel that
//! no node reports any more is remembered as long as it may come back under the same id:
//! [`GONE_MAX`] of those that were used, the oldest are forgotten. Kernels of nodes that
//! report no id are one entry that several have used.
//!
//! A lease counts on the kernel that its node had when it was granted. It does not run on
//! another: what a node starts does not outlive its kernel.

use crate::ids::{KernelId, NodeId, QueueId};
use crate::isolation::Tenancy;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Used kernels without a node that are remembered.
pub const GONE_MAX: usize = 100_000;

/// One kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    name: String,
    /// Never [`Tenancy::Alone`]: that follows from `alone`.
    users: Tenancy,
    /// Open leases on it that must have it alone.
    alone: u32,
    /// Open leases on it.
    running: u32,
    nodes: BTreeSet<NodeId>,
    /// Its number among those without a node.
    gone: Option<u64>,
}

impl Kernel {
    fn new(name: &str, users: Tenancy) -> Self {
        Kernel {
            name: name.to_string(),
            users,
            alone: 0,
            running: 0,
            nodes: BTreeSet::new(),
            gone: None,
        }
    }

    /// Who has used it, and whether somebody has it alone.
    pub fn tenancy(&self) -> Tenancy {
        match self.users {
            Tenancy::One(tenant) if self.alone > 0 => Tenancy::Alone(tenant),
            users => users,
        }
    }

    /// The nodes that run it.
    pub fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.nodes
    }

    /// Open leases on it: in all, and those that must have it alone.
    pub fn leases(&self) -> (u32, u32) {
        (self.running, self.alone)
    }
}

/// All kernels that are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernels {
    entries: Vec<Option<Kernel>>,
    by_name: BTreeMap<String, KernelId>,
    free: Vec<KernelId>,
    gone: BTreeMap<u64, KernelId>,
    next_gone: u64,
}

impl Default for Kernels {
    fn default() -> Self {
        Kernels {
            entries: vec![Some(Kernel::new("", Tenancy::Several))],
            by_name: BTreeMap::new(),
            free: Vec::new(),
            gone: BTreeMap::new(),
            next_gone: 0,
        }
    }
}

impl Kernels {
    /// The kernel of an id that a node or an open lease has.
    ///
    /// # Panics
    /// If none has it: a broken invariant.
    pub fn kernel(&self, id: KernelId) -> &Kernel {
        self.entries[id.index()]
            .as_ref()
            .expect("nodes and open leases keep their kernel")
    }

    /// All known ones but that of nodes that report none.
    pub fn iter(&self) -> impl Iterator<Item = (KernelId, &Kernel)> {
        let ids = (0..).map(KernelId);
        let known = ids.zip(&self.entries).skip(1);
        known.filter_map(|(id, kernel)| Some((id, kernel.as_ref()?)))
    }

    /// A node runs the kernel of this name; if it is not known, `fresh` is who has used it.
    pub(crate) fn join(&mut self, name: &str, node: NodeId, fresh: Tenancy) -> KernelId {
        if name.is_empty() {
            return KernelId::UNKNOWN;
        }
        let id = match self.by_name.get(name) {
            Some(id) => *id,
            None => self.add(Kernel::new(name, fresh)),
        };
        let kernel = self.kernel_mut(id);
        kernel.nodes.insert(node);
        if let Some(number) = kernel.gone.take() {
            self.gone.remove(&number);
        }
        id
    }

    /// A node runs another kernel, or is forgotten.
    pub(crate) fn leave(&mut self, id: KernelId, node: NodeId) {
        if id != KernelId::UNKNOWN {
            self.kernel_mut(id).nodes.remove(&node);
            self.forget(id);
        }
    }

    /// A lease of a tenant opens; true if that changes who uses the kernel.
    pub(crate) fn open(&mut self, id: KernelId, tenant: QueueId, alone: bool) -> bool {
        if id == KernelId::UNKNOWN {
            return false;
        }
        let kernel = self.kernel_mut(id);
        let before = kernel.tenancy();
        kernel.users = kernel.users.with(tenant, false);
        kernel.running += 1;
        kernel.alone += u32::from(alone);
        kernel.tenancy() != before
    }

    /// A lease ends; true if that changes who uses the kernel.
    pub(crate) fn close(&mut self, id: KernelId, alone: bool) -> bool {
        if id == KernelId::UNKNOWN {
            return false;
        }
        let kernel = self.kernel_mut(id);
        let before = kernel.tenancy();
        kernel.running -= 1;
        kernel.alone -= u32::from(alone);
        let changed = kernel.tenancy() != before;
        self.forget(id);
        changed
    }

    /// Nobody knows any more who has used the kernels that are known.
    pub(crate) fn doubt(&mut self) {
        for kernel in self.entries.iter_mut().flatten() {
            kernel.users = Tenancy::Several;
        }
    }

    fn kernel_mut(&mut self, id: KernelId) -> &mut Kernel {
        self.entries[id.index()]
            .as_mut()
            .expect("nodes and open leases keep their kernel")
    }

    fn add(&mut self, kernel: Kernel) -> KernelId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            KernelId(self.entries.len() as u32 - 1)
        });
        self.by_name.insert(kernel.name.clone(), id);
        self.entries[id.index()] = Some(kernel);
        id
    }

    /// Lets a kernel go that has neither node nor lease, if there is nothing to remember
    /// about it.
    fn forget(&mut self, id: KernelId) {
        let number = self.next_gone;
        let kernel = self.kernel_mut(id);
        if !kernel.nodes.is_empty() || kernel.running > 0 || kernel.gone.is_some() {
            return;
        }
        if kernel.users == Tenancy::Unused {
            self.remove(id);
            return;
        }
        kernel.gone = Some(number);
        self.next_gone += 1;
        self.gone.insert(number, id);
        if self.gone.len() > GONE_MAX
            && let Some((_, oldest)) = self.gone.pop_first()
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: KernelId) {
        if let Some(kernel) = self.entries[id.index()].take() {
            self.by_name.remove(&kernel.name);
            self.free.push(id);
        }
    }

    /// What must hold of the entries among themselves.
    ///
    /// # Panics
    /// If it does not.
    pub(crate) fn check(&self) {
        for (id, kernel) in self.iter() {
            let name = &kernel.name;
            assert_eq!(self.by_name.get(name), Some(&id), "kernel {name}: name");
            let idle = kernel.nodes.is_empty() && kernel.running == 0;
            assert_eq!(kernel.gone.is_some(), idle, "kernel {name}: gone");
            let number = kernel.gone.and_then(|number| self.gone.get(&number));
            assert_eq!(number.is_some(), idle, "kernel {name}: listed");
        }
        let known = self.iter().count();
        let sums = (known, known + self.free.len() + 1);
        assert_eq!(sums, (self.by_name.len(), self.entries.len()), "kernels");
    }
}

#[cfg(test)]
mod tests;
