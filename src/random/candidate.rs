//! Samplers of candidate classes.

use super::{DistributionSampler, SimplePhilox, WeightedPicker};
use crate::error::{Result, bail};
use std::collections::HashSet;

/// A sampler of classes in [0, range), the state of TensorFlow's `*CandidateSampler` ops.
#[derive(Clone, Debug)]
pub struct RangeSampler {
    range: i64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    All,
    Uniform,
    LogUniform,
    LearnedUnigram(WeightedPicker),
    FixedUnigram { weights: Vec<f32>, total: f32, sampler: DistributionSampler },
}

/// Sampled classes, and how many tries they took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledBatch {
    /// The classes.
    pub candidates: Vec<i64>,
    tries: i32,
}

impl RangeSampler {
    fn new(range: i64, kind: Kind) -> Result<RangeSampler> {
        if range <= 0 {
            bail!(InvalidArgument, "range_max must be positive, got {range}");
        }
        Ok(RangeSampler { range, kind })
    }

    /// Every class once, in order (`AllCandidateSampler`).
    ///
    /// # Errors
    /// Like those below, `InvalidArgument` if the range isn't above 0.
    pub fn all(range: i64) -> Result<RangeSampler> {
        RangeSampler::new(range, Kind::All)
    }

    /// All classes with the same probability (`UniformCandidateSampler`).
    ///
    /// # Errors
    /// `InvalidArgument` if the range isn't above 0.
    pub fn uniform(range: i64) -> Result<RangeSampler> {
        RangeSampler::new(range, Kind::Uniform)
    }

    /// Class `c` with probability `ln((c + 2) / (c + 1)) / ln(range + 1)` (`LogUniformCandidateSampler`).
    ///
    /// # Errors
    /// `InvalidArgument` if the range isn't above 0.
    pub fn log_uniform(range: i64) -> Result<RangeSampler> {
        RangeSampler::new(range, Kind::LogUniform)
    }

    /// Classes in proportion to how often they were given to [`RangeSampler::update`], plus 1
    /// (`LearnedUnigramCandidateSampler`, `ThreadUnsafeUnigramCandidateSampler`).
    ///
    /// # Errors
    /// `InvalidArgument` if the range isn't above 0 and below 2³¹ - 1.
    pub fn learned_unigram(range: i64) -> Result<RangeSampler> {
        if range >= i32::MAX.into() {
            bail!(InvalidArgument, "range_max must be less than {}, got {range}", i32::MAX);
        }
        RangeSampler::new(range, Kind::LearnedUnigram(WeightedPicker::new(range.max(0) as u32)))
    }

    /// Classes in proportion to given weights raised to the power of `distortion` (`FixedUnigramCandidateSampler`).
    ///
    /// `num_reserved_ids` classes of weight 0 come first; of all classes, those whose number modulo `num_shards` is
    /// `shard` are kept.
    ///
    /// # Errors
    /// `InvalidArgument` unless `range` classes are kept.
    pub fn fixed_unigram(
        range: i64,
        unigrams: impl IntoIterator<Item = f32>,
        distortion: f32,
        num_reserved_ids: i64,
        num_shards: i64,
        shard: i64,
    ) -> Result<RangeSampler> {
        if num_shards <= 0 {
            bail!(InvalidArgument, "num_shards must be positive, got {num_shards}");
        }
        if shard < 0 || shard >= num_shards {
            bail!(InvalidArgument, "shard must be at least 0 and below num_shards = {num_shards}, got {shard}");
        }
        let reserved = num_reserved_ids.saturating_sub(shard).max(0).div_euclid(num_shards)
            + i64::from(num_reserved_ids.saturating_sub(shard).max(0).rem_euclid(num_shards) > 0);
        if reserved > range {
            bail!(InvalidArgument, "range is {range} must be equal to weights size, at least {reserved}");
        }
        let mut weights = Vec::new();
        if weights.try_reserve(range as usize).is_err() {
            bail!(ResourceExhausted, "no memory for {range} weights");
        }
        weights.resize(reserved as usize, 0.0);
        let mut total = 0.0;
        for (word, weight) in (reserved..).zip(unigrams) {
            if word % num_shards == shard {
                let weight = weight.powf(distortion);
                total += weight;
                weights.push(weight);
            }
        }
        if range != weights.len() as i64 || range > i32::MAX.into() {
            bail!(InvalidArgument, "range is {range} must be equal to weights size {}", weights.len());
        }
        let sampler = DistributionSampler::new(&weights);
        RangeSampler::new(range, Kind::FixedUnigram { weights, total, sampler })
    }

    /// The number of classes.
    pub fn range(&self) -> i64 {
        self.range
    }

    /// Samples `count` classes, with `unique` none twice.
    ///
    /// # Errors
    /// `InvalidArgument` if there are too few classes; `Internal` if too few different ones came up in 2³¹ tries;
    /// `ResourceExhausted` if memory runs out.
    pub fn sample_batch(&self, words: &mut SimplePhilox, unique: bool, count: usize) -> Result<SampledBatch> {
        let available = usize::try_from(self.range).unwrap_or(usize::MAX);
        if unique && count > available {
            bail!(InvalidArgument, "Sampler's range is too small: {count} unique samples of {available} classes.");
        }
        let mut candidates = Vec::new();
        if candidates.try_reserve_exact(count).is_err() {
            bail!(ResourceExhausted, "no memory for {count} samples");
        }
        if let Kind::All = self.kind {
            if count != available {
                bail!(InvalidArgument, "expected {available} samples, one of each class, got {count}");
            }
            candidates.extend(0..self.range);
            return Ok(SampledBatch { candidates, tries: 0 });
        }
        if !unique {
            candidates.extend((0..count).map(|_| self.sample(words)));
            return Ok(SampledBatch { candidates, tries: count as i32 });
        }
        let mut used = HashSet::new();
        let mut tries = 0i32;
        while candidates.len() < count {
            if tries == i32::MAX - 1 {
                bail!(Internal, "{count} different classes did not come up in {tries} tries");
            }
            tries += 1;
            let candidate = self.sample(words);
            if used.insert(candidate) {
                candidates.push(candidate);
            }
        }
        Ok(SampledBatch { candidates, tries })
    }

    /// How often a class is expected in a batch that took as many tries.
    pub fn expected_count(&self, class: i64, batch: &SampledBatch) -> f32 {
        if let Kind::All = self.kind {
            return 1.0;
        }
        let probability = self.probability(class);
        if batch.tries as usize == batch.candidates.len() {
            return probability * batch.tries as f32;
        }
        -(batch.tries as f32 * (-probability).ln_1p()).exp_m1()
    }

    /// Counts occurrences of classes in [0, range), if the sampler learns.
    pub fn update(&mut self, classes: &[i64]) {
        if let Kind::LearnedUnigram(picker) = &mut self.kind {
            for &class in classes {
                if picker.total_weight() < i32::MAX as u64 {
                    picker.increment(class as u64);
                }
            }
        }
    }

    fn sample(&self, words: &mut SimplePhilox) -> i64 {
        match &self.kind {
            Kind::All => 0,
            Kind::Uniform => words.uniform64(self.range as u64) as i64,
            Kind::LogUniform => {
                let value = (words.rand_double() * (self.range as f64).ln_1p()).exp() as i64 - 1;
                value % self.range
            }
            Kind::LearnedUnigram(picker) => picker.pick(words) as i64,
            Kind::FixedUnigram { sampler, .. } => sampler.sample(words) as i64,
        }
    }

    fn probability(&self, class: i64) -> f32 {
        match &self.kind {
            Kind::All => 1.0,
            Kind::Uniform => (1.0 / self.range as f64) as f32,
            Kind::LogUniform => (((class as f64 + 2.0) / (class as f64 + 1.0)).ln() / (self.range as f64).ln_1p()) as f32,
            Kind::LearnedUnigram(picker) => picker.weight(class as u64) as f32 / picker.total_weight() as f32,
            Kind::FixedUnigram { weights, total, .. } => match weights.get(class as usize) {
                Some(weight) => weight / total,
                None => 0.0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::random::PhiloxRandom;

    #[test]
    fn invalid_ranges() {
        let fixed =
            |range, reserved, shards, shard| RangeSampler::fixed_unigram(range, [1.0, 2.0, 3.0], 1.0, reserved, shards, shard);
        for sampler in [
            RangeSampler::uniform(0),
            RangeSampler::all(-1),
            RangeSampler::learned_unigram(i32::MAX.into()),
            fixed(2, 0, 1, 0),
            fixed(4, i64::MAX, 1, 0),
            fixed(3, 0, 0, 0),
            fixed(3, 0, 1, 1),
        ] {
            assert_eq!(sampler.unwrap_err().code(), Code::InvalidArgument);
        }
    }

    #[test]
    fn counts_that_cannot_be_had() {
        let mut words = SimplePhilox::new(PhiloxRandom::new(1, 2));
        let uniform = RangeSampler::uniform(4).unwrap();
        for (sampler, unique, count, code) in [
            (&uniform, true, 5, Some(Code::InvalidArgument)),
            (&uniform, true, 4, None),
            (&uniform, false, 5, None),
            (&uniform, false, usize::MAX / 8, Some(Code::ResourceExhausted)),
            (&RangeSampler::all(4).unwrap(), true, 3, Some(Code::InvalidArgument)),
        ] {
            assert_eq!(sampler.sample_batch(&mut words, unique, count).err().map(|error| error.code()), code);
        }
    }

    #[test]
    fn all_in_order() {
        let mut words = SimplePhilox::new(PhiloxRandom::new(1, 2));
        let sampler = RangeSampler::all(3).unwrap();
        let batch = sampler.sample_batch(&mut words, true, 3).unwrap();
        assert_eq!((&batch.candidates[..], sampler.expected_count(2, &batch)), (&[0, 1, 2][..], 1.0));
    }
}
