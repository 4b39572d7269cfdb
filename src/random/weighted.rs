//! Draws in proportion to weights.

use super::SimplePhilox;
use std::collections::HashMap;

/// Draws indices in proportion to fixed weights in constant time, by Vose's alias method ("A linear algorithm for
/// generating random numbers with a given distribution", 1991).
#[derive(Clone, Debug)]
pub struct DistributionSampler(Vec<(f32, u32)>);

impl DistributionSampler {
    /// The sampler of these weights, of which there are fewer than 2³¹.
    pub fn new(weights: &[f32]) -> DistributionSampler {
        let sum: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let count = weights.len() as f32;
        let mut shares: Vec<f64> = weights.iter().map(|&w| f64::from(w * count) / sum).collect();
        let (mut low, mut high): (Vec<usize>, Vec<usize>) = (0..shares.len()).partition(|&i| shares[i] < 1.0);
        // What rounding leaves without a partner is its own alias.
        let mut table: Vec<(f32, u32)> = (0..shares.len() as u32).map(|i| (1.0, i)).collect();
        while let Some(&h) = high.last() {
            let Some(l) = low.pop() else { break };
            table[l].1 = h as u32;
            shares[h] -= 1.0 - shares[l];
            if shares[h] < 1.0 {
                high.pop();
                low.push(h);
            }
        }
        for (entry, share) in table.iter_mut().zip(&shares) {
            entry.0 = *share as f32;
        }
        DistributionSampler(table)
    }

    /// Draws an index; 0 if there are no weights.
    pub fn sample(&self, words: &mut SimplePhilox) -> usize {
        let fraction = words.rand_float();
        let index = words.uniform(self.0.len() as u32) as usize;
        match self.0.get(index) {
            Some(&(share, alias)) if fraction >= share => alias as usize,
            _ => index,
        }
    }
}

/// Draws indices in proportion to weights that grow, each being 1 at first. It takes room for the changed weights only.
#[derive(Clone, Debug)]
pub struct WeightedPicker {
    size: u64,
    levels: u32,
    total: u64,
    /// What was added to the weights below a node of the binary tree, by the node's level above the leaves and index.
    added: HashMap<(u32, u64), u64>,
}

impl WeightedPicker {
    /// A picker among `size` indices, fewer than 2³¹.
    pub fn new(size: u32) -> WeightedPicker {
        let levels = size.max(1).next_power_of_two().trailing_zeros();
        WeightedPicker { size: size.into(), levels, total: size.into(), added: HashMap::new() }
    }

    /// The sum of all weights.
    pub fn total_weight(&self) -> u64 {
        self.total
    }

    /// The weight of an index.
    pub fn weight(&self, index: u64) -> u64 {
        self.node(0, index)
    }

    /// Adds 1 to the weight of an index. An index outside changes nothing.
    pub fn increment(&mut self, index: u64) {
        if index < self.size {
            self.total += 1;
            for level in 0..self.levels {
                *self.added.entry((level, index >> level)).or_insert(0) += 1;
            }
        }
    }

    /// Draws an index.
    pub fn pick(&self, words: &mut SimplePhilox) -> u64 {
        let mut position = u64::from(words.uniform(self.total as u32));
        let mut index = 0;
        for level in (0..self.levels).rev() {
            index *= 2;
            let left = self.node(level, index);
            if position >= left {
                position -= left;
                index += 1;
            }
        }
        index
    }

    /// The weight below a node.
    fn node(&self, level: u32, index: u64) -> u64 {
        let leaves = self.size.saturating_sub(index << level).min(1 << level);
        leaves + self.added.get(&(level, index)).copied().unwrap_or(0)
    }
}
