//! TensorFlow's random numbers, bit for bit, on plain slices.
//!
//! A [`PhiloxRandom`] is a stream; a [`GuardedPhiloxRandom`] is the state of a random op, from which each execution
//! reserves a part of the stream; [`get_seed`] gives an op its pair of seeds. [`fill()`] draws from a [`Distribution`];
//! the distributions with parameters per value have functions of their own.
//!
//! The values are those of TensorFlow's CPU kernels. Where a distribution takes a logarithm, a sine or an
//! exponential, they agree as far as the C library's functions do.
//!
//! ```
//! use metagraph::random::{GuardedPhiloxRandom, Uniform, fill};
//! let generator = GuardedPhiloxRandom::new(87654321, 1);
//! let mut values = [0f32; 3];
//! fill(Uniform::default(), generator.reserve_random_outputs(3, 256), &mut values);
//! assert_eq!(values, [0.2390374, 0.92039955, 0.050512433]);
//! ```

mod binomial;
mod candidate;
mod distribution;
mod element;
mod fill;
mod gamma;
mod guarded;
mod index_shuffle;
mod multinomial;
mod parameterized;
mod per_output;
mod philox;
mod poisson;
mod seed;
mod shard;
mod shuffle;
mod simple;
mod weighted;

pub use binomial::binomial;
pub use candidate::{RangeSampler, SampledBatch};
pub use distribution::{Distribution, Normal, TruncatedNormal, Uniform, UniformFullInt, UniformInt};
pub use element::{CountOutput, RandomFloat, RandomInt};
pub use fill::fill;
pub use gamma::gamma;
pub use guarded::GuardedPhiloxRandom;
pub(crate) use guarded::random_u64;
pub use index_shuffle::index_shuffle;
pub use multinomial::{multinomial, multinomial_reserve};
pub use parameterized::{TruncatedNormalBounds, parameterized_truncated_normal, stateless_parameterized_truncated_normal};
pub use philox::PhiloxRandom;
pub use poisson::poisson;
pub use seed::{DEFAULT_GRAPH_SEED, get_seed};
pub use shuffle::{permutation, shuffle};
pub use simple::SimplePhilox;
pub use weighted::{DistributionSampler, WeightedPicker};

#[cfg(test)]
mod golden;
