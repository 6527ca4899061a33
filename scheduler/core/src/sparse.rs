//! A table by number that costs what is in it: what a round knows of the few nodes and
//! queues that it touches, without a search at each step.

/// See the module.
#[derive(Debug)]
pub struct Sparse<T> {
    /// By number: one more than the position of its entry; 0 where it has none.
    slots: Vec<u32>,
    entries: Vec<T>,
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Sparse {
            slots: Vec::new(),
            entries: Vec::new(),
        }
    }
}

impl<T> Sparse<T> {
    /// What there is for a number.
    #[inline]
    pub fn get(&self, number: usize) -> Option<&T> {
        match self.slots.get(number) {
            None | Some(0) => None,
            Some(slot) => Some(&self.entries[*slot as usize - 1]),
        }
    }

    /// What there is for a number; `new` if there is nothing yet.
    pub fn entry(&mut self, number: usize, new: impl FnOnce() -> T) -> &mut T {
        if number >= self.slots.len() {
            self.slots.resize(number + 1, 0);
        }
        let slot = &mut self.slots[number];
        if *slot == 0 {
            self.entries.push(new());
            *slot = self.entries.len() as u32;
        }
        &mut self.entries[*slot as usize - 1]
    }
}
