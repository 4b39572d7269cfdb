//! The rows of `tests/fixtures/random/values.txt`, which `values.py` writes with TensorFlow.

use super::*;
use half::{bf16, f16};
use std::collections::HashMap;
use std::fmt::Debug;
use std::str::FromStr;

/// A row: an execution of an op, and the values that TensorFlow gave.
struct Row<'a> {
    text: &'a str,
    fields: HashMap<&'a str, &'a str>,
    values: Vec<&'a str>,
}

impl<'a> Row<'a> {
    fn parse(text: &'a str) -> Row<'a> {
        let (head, values) = text.split_once(" : ").unwrap();
        let fields = head.split(' ').skip(2).map(|field| field.split_once('=').unwrap()).collect();
        Row { text, fields, values: values.split(' ').collect() }
    }

    fn op(&self) -> (&'a str, &'a str) {
        let mut words = self.text.split(' ');
        (words.next().unwrap(), words.next().unwrap())
    }

    fn list<T: FromStr<Err: Debug>>(&self, key: &str) -> Vec<T> {
        let items = self.fields.get(key).copied().unwrap_or_default();
        items.split(',').filter(|item| !item.is_empty()).map(|item| item.parse().unwrap()).collect()
    }

    fn get<T: FromStr<Err: Debug>>(&self, key: &str) -> T {
        self.fields[key].parse().unwrap()
    }

    fn or<T: FromStr<Err: Debug>>(&self, key: &str, default: T) -> T {
        self.fields.get(key).map_or(default, |value| value.parse().unwrap())
    }

    /// The stream of the execution, where each before it reserved so many blocks.
    fn stream(&self, reserved: u64) -> PhiloxRandom {
        if let [seed, seed2] = self.list::<i64>("stateless")[..] {
            return PhiloxRandom::from_stateless_seed([seed as u64, seed2 as u64]);
        }
        let generator = GuardedPhiloxRandom::new(self.get("seed"), self.get("seed2"));
        for _ in 0..self.or("run", 0) {
            generator.reserve_samples128(reserved);
        }
        generator.reserve_samples128(reserved)
    }

    /// The values of an execution that reserves 256 blocks for each.
    fn drawn<T: Value>(&self, draw: impl Fn(PhiloxRandom, &mut [T])) {
        let n = self.get("n");
        let mut out = vec![T::parse("0"); n];
        draw(self.stream(256 * n as u64), &mut out);
        self.compare(&out);
    }

    fn compare<T: Value>(&self, out: &[T]) {
        let mut places: Vec<usize> = self.list("at");
        if places.is_empty() {
            places = (0..out.len()).collect();
        }
        assert_eq!(places.len(), self.values.len(), "{}", self.text);
        for (&place, expected) in places.iter().zip(&self.values) {
            let expected = T::parse(expected);
            assert!(out[place].near(expected), "{}\n at {place}: {:?}, expected {expected:?}", self.text, out[place]);
        }
    }
}

trait Value: Copy + Debug {
    fn parse(text: &str) -> Self;
    /// Equal; of floats, up to what the last bit of a logarithm or sine may change.
    fn near(self, other: Self) -> bool;
}

macro_rules! values {
    (floats $($type:ident $bits:ident)*) => { $(impl Value for $type {
        fn parse(text: &str) -> $type {
            $type::from_bits($bits::from_str_radix(text, 16).unwrap())
        }

        fn near(self, other: $type) -> bool {
            self.is_nan() && other.is_nan() || self == other || self.to_bits().abs_diff(other.to_bits()) <= TOLERANCE.into()
        }
    })* };
    (integers $($type:ident)*) => { $(impl Value for $type {
        fn parse(text: &str) -> $type {
            text.parse().unwrap()
        }

        fn near(self, other: $type) -> bool {
            self == other
        }
    })* };
}

/// How many units in the last place floats may be apart: none with the C library that TensorFlow used here.
const TOLERANCE: u8 = if cfg!(all(target_os = "linux", target_env = "gnu")) { 0 } else { 4 };

values!(floats f16 u16 bf16 u16 f32 u32 f64 u64);
values!(integers i32 i64 u32 u64);

/// Runs a block with `$T` bound to the type of a name.
macro_rules! typed {
    ($name:expr, $T:ident => $body:expr, $($text:literal $type:ident),*) => {
        match $name {
            $($text => { type $T = $type; $body })*
            other => panic!("{other}"),
        }
    };
}

macro_rules! float {
    ($name:expr, $T:ident => $body:expr) => {
        typed!($name, $T => $body, "f16" f16, "bf16" bf16, "f32" f32, "f64" f64)
    };
}

macro_rules! integer {
    ($name:expr, $T:ident => $body:expr) => {
        typed!($name, $T => $body, "i32" i32, "i64" i64, "u32" u32, "u64" u64)
    };
}

macro_rules! count {
    ($name:expr, $T:ident => $body:expr) => {
        typed!($name, $T => $body, "f16" f16, "f32" f32, "f64" f64, "i32" i32, "i64" i64)
    };
}

fn narrowed<T: RandomFloat>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

fn check(text: &str) {
    let row = &Row::parse(text);
    let (op, dtype) = row.op();
    match op {
        "uniform" => float!(dtype, T => row.drawn(|rng, out| fill(Uniform::<T>::default(), rng, out))),
        "normal" => float!(dtype, T => row.drawn(|rng, out| fill(Normal::<T>::default(), rng, out))),
        "truncated" => float!(dtype, T => row.drawn(|rng, out| fill(TruncatedNormal::<T>::default(), rng, out))),
        "uniform_full_int" => integer!(dtype, T => row.drawn(|rng, out| fill(UniformFullInt::<T>::default(), rng, out))),
        "uniform_int" => integer!(dtype, T => {
            let bounded = UniformInt::<T>::new(row.get("minval"), row.get("maxval")).unwrap();
            row.drawn(|rng, out| fill(bounded, rng, out));
        }),
        "shuffle" => {
            let n: usize = row.get("n");
            let order = permutation(row.stream((n as u64 - 1).div_ceil(4)), n);
            row.compare(&order.iter().map(|&place| place as i64).collect::<Vec<_>>());
        }
        "gamma" => {
            let alphas: Vec<f64> = row.list("alpha");
            float!(dtype, T => row.drawn(|rng, out: &mut [T]| gamma(rng, &alphas, out)));
        }
        "poisson" => {
            let rates: Vec<f64> = row.list("rate");
            count!(dtype, T => row.drawn(|rng, out: &mut [T]| poisson(rng, &rates, out)));
        }
        "binomial" => {
            let (counts, probs): (Vec<f64>, Vec<f64>) = (row.list("counts"), row.list("probs"));
            float!(row.fields["param"], P => count!(dtype, T => row.drawn(|rng, out: &mut [T]| {
                binomial(rng, &narrowed::<P>(&counts), &narrowed::<P>(&probs), out);
            })));
        }
        "index_shuffle" => {
            let key: Vec<u32> = row.list("key");
            let shuffled: Vec<i64> = row
                .list("index")
                .into_iter()
                .map(|index| index_shuffle(index, [key[0], key[1], key[2]], row.get("max_index"), row.get("rounds")) as i64)
                .collect();
            row.compare(&shuffled);
        }
        "multinomial" => float!(dtype, T => check_multinomial::<T>(row)),
        "parameterized" | "stateless_parameterized" => float!(dtype, T => check_parameterized::<T>(row, op)),
        "candidates" | "expected" => check_candidates(row, op, dtype),
        _ => panic!("{op}"),
    }
}

fn check_multinomial<T: RandomFloat + Value>(row: &Row) {
    let (rows, classes): (usize, usize) = (row.get("rows"), row.get("classes"));
    let mut logits: Vec<f64> = row.list("logits");
    if logits.is_empty() {
        let places = (0..rows).flat_map(|r| (0..classes).map(move |c| (r * 31 + c * 17) % 23));
        logits = places.map(|place| (place as f64 - 11.0) / 8.0).collect();
    }
    let samples = row.get::<usize>("n") / rows;
    let rng = row.stream(256 * multinomial_reserve(rows, samples));
    let mut drawn = Vec::new();
    multinomial(rng, &narrowed::<T>(&logits), classes, samples, row.or("threads", 1), |class| drawn.push(class as i64));
    row.compare(&drawn);
}

fn check_parameterized<T: RandomFloat + Value>(row: &Row, op: &str) {
    let [mean, stddev, minval, maxval] = narrowed::<T>(&row.list("bounds"))[..] else { panic!("{}", row.text) };
    let means = narrowed::<T>(&row.list("means"));
    let bounds = |batch| {
        let mean = means.get(batch).copied().unwrap_or(mean);
        TruncatedNormalBounds { mean, stddev, minval, maxval }
    };
    let n: usize = row.get("n");
    let mut out = vec![T::zero(); n];
    let threads = row.or("threads", 1);
    if op == "parameterized" {
        let samples: usize = row.get("samples");
        let rng = row.stream(n.div_ceil(samples) as u64 * 2000 * (samples as u64 + 3) / 4);
        parameterized_truncated_normal(rng, bounds, samples, threads, &mut out).unwrap();
    } else {
        stateless_parameterized_truncated_normal(row.stream(0), bounds, means.len(), threads, &mut out).unwrap();
    }
    row.compare(&out);
}

fn check_candidates(row: &Row, op: &str, sampler: &str) {
    let unigrams = [1.0, 5.0, 0.0, 2.5, 100.0, 7.0, 1e-3, 3.0, 4.0, 0.5, 2.0, 9.0];
    let mut sampler = match sampler {
        "uniform" => RangeSampler::uniform(12),
        "log_uniform" => RangeSampler::log_uniform(12),
        "learned" => RangeSampler::learned_unigram(12),
        "fixed" => RangeSampler::fixed_unigram(12, unigrams, 1.0, 0, 1, 0),
        "distorted" => RangeSampler::fixed_unigram(12, unigrams[..10].to_vec(), 0.75, 2, 1, 0),
        "sharded" => RangeSampler::fixed_unigram(10, [unigrams, unigrams].concat(), 1.0, 6, 3, 1),
        other => panic!("{other}"),
    }
    .unwrap();
    let true_classes = [0, 4, 2, 2, 9, 1];
    let count = if op == "candidates" { row.get("n") } else { row.get::<usize>("n") - true_classes.len() };
    let run: usize = row.get("run");
    for _ in 0..run {
        sampler.update(&true_classes);
    }
    let reserved = (2048 * count as u64).div_ceil(4);
    let mut words = SimplePhilox::new(row.stream(reserved));
    let batch = sampler.sample_batch(&mut words, row.get::<u8>("unique") == 1, count).unwrap();
    if op == "candidates" {
        return row.compare(&batch.candidates);
    }
    let classes = true_classes.iter().chain(&batch.candidates);
    row.compare(&classes.map(|&class| sampler.expected_count(class, &batch)).collect::<Vec<f32>>());
}

#[test]
fn as_tensorflow() {
    include_str!("../../tests/fixtures/random/values.txt").lines().for_each(check);
}
