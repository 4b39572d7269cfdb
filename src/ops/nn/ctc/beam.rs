//! A search for the most probable label sequences that keeps a beam of prefixes.

use super::loss::log_add;
use crate::error::{Result, bail};
use crate::ops::nn::softmax::max_of;
use crate::ops::nn::wide::Wide;
use num_traits::Float;
use std::collections::HashMap;

/// The logarithmic probabilities of a prefix.
#[derive(Clone, Copy)]
struct Probability<T> {
    total: T,
    /// Of the paths that end with a blank.
    blank: T,
    /// Of the paths that end with the prefix's last label.
    label: T,
}

impl<T: Float> Probability<T> {
    fn none() -> Probability<T> {
        Probability { total: T::neg_infinity(), blank: T::neg_infinity(), label: T::neg_infinity() }
    }
}

/// A prefix in the tree of all prefixes.
struct Entry<T> {
    parent: Option<usize>,
    label: usize,
    old: Probability<T>,
    new: Probability<T>,
    children: HashMap<usize, usize>,
}

impl<T: Float> Entry<T> {
    /// True while the prefix is in the beam.
    fn is_active(&self) -> bool {
        self.new.total != T::neg_infinity()
    }
}

/// The state of a search.
pub(super) struct Search<T> {
    classes: usize,
    width: usize,
    entries: Vec<Entry<T>>,
    /// The beam, the most probable prefix first.
    leaves: Vec<usize>,
}

impl<T: Float + Wide<Wide = T>> Search<T> {
    /// A search that has seen nothing. The last class is the blank.
    pub fn new(classes: usize, width: usize) -> Search<T> {
        let start = Probability { total: T::zero(), blank: T::zero(), label: T::neg_infinity() };
        let root = Entry { parent: None, label: usize::MAX, old: Probability::none(), new: start, children: HashMap::new() };
        Search { classes, width, entries: vec![root], leaves: vec![0] }
    }

    fn push(&mut self, leaf: usize) {
        let total = self.entries[leaf].new.total;
        let place = self.leaves.partition_point(|&l| self.entries[l].new.total >= total);
        if place < self.width {
            self.leaves.truncate(self.width - 1);
            self.leaves.insert(place, leaf);
        }
    }

    /// True when a prefix of this probability would enter the beam.
    fn is_candidate(&self, total: T) -> bool {
        let lowest = self.leaves.last().map(|&l| self.entries[l].new.total);
        total > T::neg_infinity() && (self.leaves.len() < self.width || lowest.is_none_or(|lowest| total > lowest))
    }

    /// Takes the logits of one more time step.
    pub fn step(&mut self, logits: &[T]) {
        let max = max_of(logits);
        let norm = max + logits.iter().fold(T::zero(), |sum, &x| sum + (x - max).exp()).ln();
        let blank = self.classes - 1;
        let branches = std::mem::take(&mut self.leaves);
        for &b in &branches {
            self.entries[b].old = self.entries[b].new;
        }
        for &b in &branches {
            if let Some(parent) = self.entries[b].parent {
                let (label, parent) = (self.entries[b].label, &self.entries[parent]);
                let mut with_label = self.entries[b].new.label;
                if parent.is_active() {
                    let previous = if label == parent.label { parent.old.blank } else { parent.old.total };
                    with_label = log_add(with_label, previous);
                }
                self.entries[b].new.label = with_label + logits[label] - norm;
            }
            let entry = &mut self.entries[b];
            entry.new.blank = entry.old.total + logits[blank] - norm;
            entry.new.total = log_add(entry.new.blank, entry.new.label);
            self.push(b);
        }
        for &b in &branches {
            if !self.is_candidate(self.entries[b].old.total) {
                continue;
            }
            for label in 0..blank {
                self.extend(b, label, logits[label] - norm);
            }
        }
    }

    /// Puts a prefix with one more label into the beam, if it isn't there and is probable enough.
    fn extend(&mut self, prefix: usize, label: usize, probability: T) {
        let parent = &self.entries[prefix];
        let known = parent.children.get(&label).copied();
        if known.is_some_and(|child| self.entries[child].is_active()) {
            return;
        }
        let previous = if label == parent.label { parent.old.blank } else { parent.old.total };
        let total = probability + previous;
        if !self.is_candidate(total) {
            return;
        }
        let child = known.unwrap_or_else(|| {
            let none = Probability::none();
            self.entries.push(Entry { parent: Some(prefix), label, old: none, new: none, children: HashMap::new() });
            let child = self.entries.len() - 1;
            self.entries[prefix].children.insert(label, child);
            child
        });
        self.entries[child].old = Probability::none();
        self.entries[child].new = Probability { total, blank: T::neg_infinity(), label: total };
        if self.leaves.len() == self.width
            && let Some(&lowest) = self.leaves.last()
        {
            self.entries[lowest].new = Probability::none();
        }
        self.push(child);
    }

    /// The most probable label sequences and their logarithmic probabilities.
    ///
    /// # Errors
    /// `InvalidArgument` where the beam holds fewer.
    pub fn top(&self, count: usize, merge: bool) -> Result<Vec<(Vec<i64>, T)>> {
        if count > self.leaves.len() {
            bail!(InvalidArgument, "Less leaves in the beam search than requested: {} of {count}", self.leaves.len());
        }
        Ok(self.leaves[..count].iter().map(|&leaf| (self.labels(leaf, merge), self.entries[leaf].new.total)).collect())
    }

    fn labels(&self, leaf: usize, merge: bool) -> Vec<i64> {
        let (mut labels, mut previous, mut entry) = (Vec::new(), None, &self.entries[leaf]);
        while let Some(parent) = entry.parent {
            if !merge || previous != Some(entry.label) {
                labels.push(entry.label as i64);
            }
            previous = Some(entry.label);
            entry = &self.entries[parent];
        }
        labels.reverse();
        labels
    }
}
