//! Whether any known node could ever hold a task, by what it has when empty.
//!
//! The rule it keeps: only capacity is looked at. Labels, taints, contracts and
//! what is held now change, and are reasons to wait; a task that is larger than
//! every node there is would wait for ever. That can be known only once every
//! site that may bring nodes has reported some ([`World::is_reported`]).
//!
//! [`World::apply`] does not ask here: what is known changes with time, and a batch
//! that was accepted once stays so whenever the journal is replayed. Whoever accepts
//! batches asks before it applies, with a [`Shapes`] of its own: what the nodes have,
//! without what another node has more of in every respect, so that a submission
//! costs a look at a few shapes and not at all nodes.

use super::World;
use crate::ids::{NodeId, SiteId};
use crate::reason::Refusal;
use crate::resources::{DIMENSIONS, Resources};
use crate::round::feasible::{Taken, refusal};
use crate::site::Site;
use crate::spec::{BatchSpec, Needs};
use crate::time::TimeMs;
use std::collections::BTreeSet;

/// So many shapes are compared with each new one; beyond it, dominated ones stay.
const COMPARED_MAX: usize = 64;

/// What a node has when it is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    capacity: Resources,
    node: NodeId,
}

/// The shapes of all sites, looked at again where a site has reported.
#[derive(Debug, Clone, Default)]
pub struct Shapes {
    /// By site; `None` is to be looked at.
    by_site: Vec<Option<Vec<Shape>>>,
}

/// What is missing for a task even on empty nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The amounts that are too large, in the order of the dimensions; never empty.
    pub lacks: Vec<Lack>,
    /// Each amount is there, but not together: this node comes closest, and `lacks`
    /// is about it.
    pub closest: Option<NodeId>,
}

/// One amount that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// Which resource.
    pub dimension: usize,
    /// Per task.
    pub asked: i64,
    /// The most that a node has of it, or the closest one.
    pub largest: i64,
    /// Which node that is; `None` where no node has any.
    pub node: Option<NodeId>,
}

/// The first job of a batch that fits on no known node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLarge {
    /// Its place in the batch.
    pub position: usize,
    /// What is missing.
    pub shortage: Shortage,
}

impl Shapes {
    /// A site has reported what it has.
    pub fn changed(&mut self, site: SiteId) {
        if let Some(known) = self.by_site.get_mut(site.index()) {
            *known = None;
        }
    }

    /// The first job that fits on no known node; none while no node is known.
    pub fn too_large(&mut self, world: &World, now: TimeMs, spec: &BatchSpec) -> Option<TooLarge> {
        let shapes = self.all(world, now);
        if shapes.is_empty() {
            return None;
        }
        let mut fitting: BTreeSet<Resources> = BTreeSet::new();
        for (position, job) in spec.jobs.iter().enumerate() {
            let asked = job.needs.resources;
            if fitting.contains(&asked) {
                continue;
            }
            if let Some(shortage) = shortage_in(&asked, &shapes) {
                return Some(TooLarge { position, shortage });
            }
            fitting.insert(asked);
        }
        None
    }

    /// The shapes of all sites that may be given work.
    fn all(&mut self, world: &World, now: TimeMs) -> Vec<Shape> {
        self.by_site.resize(world.sites().len(), None);
        let mut all = Vec::new();
        for (site, known) in world.sites().iter().zip(&mut self.by_site) {
            let known = known.get_or_insert_with(|| shapes_of(world, site));
            if may_bring(site, now) {
                known.iter().for_each(|shape| add(&mut all, *shape));
            }
        }
        all
    }
}

impl World {
    /// True once every site that may bring nodes has reported some. What another
    /// one will bring is not known, so nothing is too large before.
    pub fn is_reported(&self, now: TimeMs) -> bool {
        let mut bringing = self.sites.iter().filter(|site| may_bring(site, now));
        let reported = |site: &Site| site.nodes.values().any(|id| self.node(*id).present);
        bringing.clone().next().is_some() && bringing.all(reported)
    }

    /// What the nodes lack that would take such a task by all but their size; `None`
    /// where one is large enough, or there is none.
    pub fn shortage(&self, now: TimeMs, needs: &Needs) -> Option<Shortage> {
        let mut shapes = Vec::new();
        for node in self.nodes.iter().filter(|node| node.present) {
            match refusal(self, now, &Taken::default(), needs, node) {
                Some(cause) if cause < Refusal::TooLarge => {}
                Some(Refusal::TooLarge) => {
                    let (capacity, node) = (node.report.capacity, node.id);
                    add(&mut shapes, Shape { capacity, node });
                }
                Some(_) | None => return None,
            }
        }
        shortage_in(&needs.resources, &shapes)
    }
}

/// What is withdrawn, or whose contract is over, brings nothing any more.
fn may_bring(site: &Site, now: TimeMs) -> bool {
    let over = site
        .spec
        .contract
        .is_some_and(|contract| contract.end <= now);
    !site.withdrawn && !over
}

fn shapes_of(world: &World, site: &Site) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let nodes = site.nodes.values().map(|id| world.node(*id));
    for node in nodes.filter(|node| node.present) {
        let (capacity, node) = (node.report.capacity, node.id);
        add(&mut shapes, Shape { capacity, node });
    }
    shapes
}

/// Adds a shape, unless another one has as much of everything; drops those that it
/// exceeds itself.
fn add(shapes: &mut Vec<Shape>, shape: Shape) {
    let covers = |more: &Shape, less: &Shape| {
        let mut pairs = less.capacity.0.iter().zip(&more.capacity.0);
        pairs.all(|(less, more)| less <= more)
    };
    let mut compared = shapes.iter().take(COMPARED_MAX);
    if compared.any(|other| covers(other, &shape)) {
        return;
    }
    if shapes.len() <= COMPARED_MAX {
        shapes.retain(|other| !covers(&shape, other));
    }
    shapes.push(shape);
}

fn shortage_in(asked: &Resources, shapes: &[Shape]) -> Option<Shortage> {
    if shapes.is_empty() || shapes.iter().any(|shape| asked.fits_in(&shape.capacity)) {
        return None;
    }
    let largest = (0..DIMENSIONS).map(|dimension| {
        let mut most: Option<&Shape> = None;
        for shape in shapes.iter().filter(|shape| shape.capacity[dimension] > 0) {
            let more = |most: &Shape| shape.capacity[dimension] > most.capacity[dimension];
            if most.is_none_or(more) {
                most = Some(shape);
            }
        }
        lack(asked, dimension, most)
    });
    let lacks: Vec<Lack> = largest.filter(Lack::is_short).collect();
    if !lacks.is_empty() {
        let closest = None;
        return Some(Shortage { lacks, closest });
    }
    let of = |shape: &Shape| -> Vec<Lack> {
        let all = (0..DIMENSIONS).map(|dimension| lack(asked, dimension, Some(shape)));
        all.filter(Lack::is_short).collect()
    };
    let closest = shapes
        .iter()
        .min_by_key(|shape| (of(shape).len(), shape.node))?;
    Some(Shortage {
        lacks: of(closest),
        closest: Some(closest.node),
    })
}

fn lack(asked: &Resources, dimension: usize, most: Option<&Shape>) -> Lack {
    Lack {
        dimension,
        asked: asked[dimension],
        largest: most.map_or(0, |shape| shape.capacity[dimension]),
        node: most.map(|shape| shape.node),
    }
}

impl Lack {
    fn is_short(&self) -> bool {
        self.asked > self.largest
    }
}

#[cfg(test)]
mod tests;
