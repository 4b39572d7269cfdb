//! Ops with state: examples whose values aren't compared, and the ops that no test runs.

/// Examples of ops that give other values each time: op, example.
pub const ROWS: &[(&str, &str)] = &[
    ("RandomUniform", "dtype=f64; i32[2 3] => _"),
    ("RandomStandardNormal", "dtype=f16; i64[2 0] => _"),
    ("TruncatedNormal", "dtype=f32; i32[5] => _"),
    ("RandomUniformInt", "i32[4], i64 -3, i64 9 => _"),
    ("RandomShuffle", "f32[[1 2] [3 4]] => _"),
    ("Multinomial", "f32[[1 2 3] [0 0 1]], i32 4 => _"),
    ("ParameterizedTruncatedNormal", "i32[2 3], f32[0 1], f32 1, f32 -1, f32[1 8] => _"),
    ("RandomGamma", "i32[3], f64[[0.5 2]] => _"),
    ("RandomPoisson", "i32[3], f32[0.5 2] => _"),
    ("RandomPoissonV2", "dtype=i32; i64[2], f64[0.5 20] => _"),
    ("UniformCandidateSampler", "num_true=2, num_sampled=3, unique=true, range_max=9; i64[[1 2] [3 4]] => _, _, _"),
    ("LogUniformCandidateSampler", "num_true=1, num_sampled=3, unique=false, range_max=9; i64[[1] [3]] => _, _, _"),
    ("LearnedUnigramCandidateSampler", "num_true=1, num_sampled=3, unique=false, range_max=9; i64[[1] [3]] => _, _, _"),
    ("ThreadUnsafeUnigramCandidateSampler", "num_true=1, num_sampled=3, unique=false, range_max=9; i64[[1] [3]] => _, _, _"),
    (
        "FixedUnigramCandidateSampler",
        "num_true=1, num_sampled=3, unique=false, range_max=3, unigrams=[0.5, 1.5, 2.0]; i64[[1] [2]] => _, _, _",
    ),
    ("AllCandidateSampler", "num_true=1, num_sampled=4, unique=true; i64[[1] [3]] => _, _, _"),
    ("SampleDistortedBoundingBox", "i32[20 30 3], f32[[[0.1 0.2 0.8 0.9]]] => _, _, _"),
    ("SampleDistortedBoundingBoxV2", "i64[20 30 3], f32[[[0.1 0.2 0.8 0.9]]], f32 0.3 => _, _, _"),
    ("RandomCrop", "f32[[[1] [2]] [[3] [4]]], i64[1 2] => _"),
    ("NonDeterministicInts", "i64[2 3] => _"),
    ("StatelessRandomGetAlg", " => _"),
    ("Timestamp", " => _"),
    ("Print", "U=[], first_n=0; f32[1 2], () => _"),
    ("Assert", "T=[f32]; bool true, (f32[1]) => "),
    ("NoOp", " => "),
    ("ControlTrigger", " => "),
];

/// Ops that no test runs: op, why. The list can only shrink: an op that is seen must leave it.
pub const UNSEEN: &[(&str, &str)] =
    &[("Placeholder", "it is fed, or an error"), ("PlaceholderV2", "it is fed, or an error"), ("Abort", "it ends the process")];
