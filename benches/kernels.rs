//! The kernels beside established crates: `cargo bench --bench kernels`, with `METAGRAPH_NUM_THREADS=1` for one thread.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use metagraph::bench_internals::conv::{Axis, Conv2d, conv2d};
use metagraph::bench_internals::gemm::{Matrix, MatrixMut, Onto, PackedB, gemm};
use metagraph::bench_internals::math::{Exp, Log, Sigmoid, Tanh, map};
use metagraph::bench_internals::softmax::softmax;
use metagraph::bench_internals::{pool, reduce};
use std::hint::black_box;

/// Rows, depth, columns of products, and whether the operands are stored transposed.
const PRODUCTS: [(usize, usize, usize, bool, bool); 12] = [
    (1, 603, 2000, false, false),
    (1, 500, 2000, false, false),
    (1, 512, 2048, false, false),
    (1, 2000, 500, false, true),
    (1, 500, 103, false, false),
    (8, 603, 2000, false, false),
    (100, 603, 2000, false, false),
    (100, 2000, 603, false, true),
    (603, 100, 2000, true, false),
    (256, 256, 256, false, false),
    (1000, 1000, 1000, false, false),
    (27, 20000, 32, true, false),
];

fn products(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gemm f32");
    let threads = pool::Pool::global().threads();
    for (m, k, n, transpose_a, transpose_b) in PRODUCTS {
        let (a, b, mut c) = (vec![1.0f32; m * k], vec![1.0f32; k * n], vec![0.0f32; m * n]);
        let (a_strides, b_strides) = (if transpose_a { (1, m) } else { (k, 1) }, if transpose_b { (1, k) } else { (n, 1) });
        let a_matrix = Matrix::strided(&a, m, k, a_strides.0, a_strides.1);
        let b_matrix = Matrix::strided(&b, k, n, b_strides.0, b_strides.1);
        let letter = |transposed| if transposed { 'T' } else { 'N' };
        let name = format!("{m}x{k}x{n} {}{}", letter(transpose_a), letter(transpose_b));
        group.throughput(Throughput::Elements((2 * m * k * n) as u64));
        group.bench_function(BenchmarkId::new("metagraph", &name), |bench| {
            bench.iter(|| gemm(a_matrix, b_matrix, MatrixMut::new(black_box(&mut c), m, n), Onto::Nothing));
        });
        let packed = PackedB::new(b_matrix);
        group.bench_function(BenchmarkId::new("metagraph packed", &name), |bench| {
            bench.iter(|| packed.multiply(a_matrix, MatrixMut::new(black_box(&mut c), m, n), Onto::Nothing));
        });
        let parallelism = if threads > 1 { ::gemm::Parallelism::Rayon(threads) } else { ::gemm::Parallelism::None };
        group.bench_function(BenchmarkId::new("gemm crate", &name), |bench| {
            // SAFETY: the slices have the elements that sizes and strides tell.
            bench.iter(|| unsafe {
                let (rows, columns) =
                    ((a_strides.0 as isize, a_strides.1 as isize), (b_strides.0 as isize, b_strides.1 as isize));
                let to = black_box(&mut c).as_mut_ptr();
                let (a, b) = (a.as_ptr(), b.as_ptr());
                let stride = n as isize;
                ::gemm::gemm(
                    m,
                    n,
                    k,
                    to,
                    1,
                    stride,
                    false,
                    a,
                    rows.1,
                    rows.0,
                    b,
                    columns.1,
                    columns.0,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    parallelism,
                );
            });
        });
        group.bench_function(BenchmarkId::new("matrixmultiply", &name), |bench| {
            // SAFETY: as above.
            bench.iter(|| unsafe {
                let to = black_box(&mut c).as_mut_ptr();
                let (rows, columns) =
                    ((a_strides.0 as isize, a_strides.1 as isize), (b_strides.0 as isize, b_strides.1 as isize));
                matrixmultiply::sgemm(
                    m,
                    k,
                    n,
                    1.0,
                    a.as_ptr(),
                    rows.0,
                    rows.1,
                    b.as_ptr(),
                    columns.0,
                    columns.1,
                    0.0,
                    to,
                    n as isize,
                    1,
                );
            });
        });
    }
    group.finish();
}

fn functions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("functions of 4000 f32");
    let x: Vec<f32> = (1..=4000).map(|i| i as f32 * 0.002).collect();
    let mut y = x.clone();
    group.throughput(Throughput::Elements(x.len() as u64));
    group.bench_function("exp", |bench| bench.iter(|| map(Exp, &x, black_box(&mut y))));
    group.bench_function("log", |bench| bench.iter(|| map(Log, &x, black_box(&mut y))));
    group.bench_function("tanh", |bench| bench.iter(|| map(Tanh, &x, black_box(&mut y))));
    group.bench_function("sigmoid", |bench| bench.iter(|| map(Sigmoid, &x, black_box(&mut y))));
    group.bench_function("tanh, std", |bench| {
        bench.iter(|| black_box(&mut y).iter_mut().zip(&x).for_each(|(y, x)| *y = x.tanh()));
    });
    group.bench_function("sum", |bench| bench.iter(|| black_box(reduce::sum(&x))));
    group.finish();
}

fn softmaxes(criterion: &mut Criterion) {
    let logits = vec![0.1f32; 100 * 103];
    let mut out = logits.clone();
    criterion.bench_function("softmax 100x103", |bench| bench.iter(|| softmax(&logits, 103, black_box(&mut out))));
}

fn convolutions(criterion: &mut Criterion) {
    let axis = Axis { input: 28, output: 28, window: 3, stride: 1, dilation: 1, padding: 1 };
    let sizes = Conv2d { batch: 8, rows: axis, columns: axis, in_channels: 32, out_channels: 64, groups: 1 };
    let (input, filter) = (vec![1.0f32; sizes.input_size()], vec![1.0f32; sizes.filter_size()]);
    let mut output = vec![0.0; sizes.output_size()];
    let mut group = criterion.benchmark_group("conv2d");
    group.throughput(Throughput::Elements((2 * output.len() * 9 * 32) as u64));
    group.bench_function("8x28x28x32 3x3x64", |bench| bench.iter(|| conv2d(&sizes, &input, &filter, black_box(&mut output))));
    group.finish();
}

fn pools(criterion: &mut Criterion) {
    criterion.bench_function("an empty parallel loop", |bench| {
        bench.iter(|| {
            pool::parallel_for(8, 1, |range| {
                black_box(range);
            })
        })
    });
}

criterion_group!(benches, products, functions, softmaxes, convolutions, pools);
criterion_main!(benches);
