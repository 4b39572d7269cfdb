//! Results with each rewrite on and off, alone and together, on graphs of fixed and of random form.

use metagraph::nn::{BidirectionalOptions, GRUCell, LSTMCell, MultiRNNCell, RNNCell, RnnOptions};
use metagraph::ops::TensorArrayOptions;
use metagraph::train::VariableOptions;
use metagraph::{
    DType, GradientOptions, Graph, Operation, Output, Result, Rewrites, Session, SessionOptions, Shape, Tensor, TensorArray,
    WhileOptions,
};

fn close(a: &Tensor, b: &Tensor) -> bool {
    if a.dtype() != b.dtype() || a.dims() != b.dims() {
        return false;
    }
    match (a.as_slice::<f32>(), b.as_slice::<f32>()) {
        (Ok(a), Ok(b)) => {
            a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-5 * a.abs().max(1.0))
        }
        _ => a == b,
    }
}

/// Runs twice with each choice of rewrites and compares with a run without any.
fn check(what: &str, g: &Graph, fetches: &[Output], feeds: &[(Output, &Tensor)]) {
    check_after(what, g, &[], fetches, feeds);
}

fn check_after(what: &str, g: &Graph, init: &[Operation], fetches: &[Output], feeds: &[(Output, &Tensor)]) {
    let run = |rewrites: Rewrites| -> Result<Vec<Tensor>> {
        let mut options = SessionOptions::default();
        options.rewrites = rewrites;
        let session = Session::with_options(g, options);
        session.run_targets(init, &[])?;
        session.run(fetches, feeds)?;
        session.run(fetches, feeds)
    };
    let expected = run(Rewrites::NONE);
    for (name, rewrites) in Rewrites::choices() {
        match (&expected, run(rewrites)) {
            (Ok(expected), Ok(found)) => {
                for (at, (a, b)) in expected.iter().zip(&found).enumerate() {
                    assert!(close(a, b), "{what}, {name}: output {at} is {b}, without rewrites {a}");
                }
            }
            (Err(a), Err(b)) => assert_eq!(a.code(), b.code(), "{what}, {name}: {b}, without rewrites {a}"),
            (a, b) => panic!("{what}, {name}: {b:?}, without rewrites {a:?}"),
        }
    }
}

/// A generator of numbers that needs no state but one word (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }

    fn tensor(&mut self, dims: &[usize]) -> Tensor {
        let values = (0..dims.iter().product()).map(|_| self.below(2000) as f32 / 1000.0 - 1.0).collect();
        Tensor::new(dims, values).expect("a tensor")
    }
}

/// Random element-wise graphs over operands of several shapes, with splits and concatenations.
#[test]
fn random_elementwise_graphs() -> Result<()> {
    const ONE: &[&str] = &["Neg", "Square", "Abs", "Sigmoid", "Tanh", "Relu", "Exp", "Identity", "Sin"];
    const TWO: &[&str] = &["AddV2", "Sub", "Mul", "Maximum", "Minimum", "SquaredDifference", "SigmoidGrad", "TanhGrad", "AddN"];
    for seed in 1..60u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let g = Graph::new();
        // The largest are so large that outputs are written over inputs.
        let (rows, columns) = ([1, 3, 20, 70][random.below(4)], [1, 4, 24, 300][random.below(4)]);
        let shapes: [&[usize]; 6] = [&[rows, columns], &[columns], &[], &[1, columns], &[rows, 1], &[1, 1]];
        let mut feeds = Vec::new();
        for _ in 0..4 {
            let dims = shapes[random.below(if seed % 3 == 0 { 6 } else { 3 })];
            feeds.push((g.placeholder(DType::Float, Shape::unknown())?, random.tensor(dims)));
        }
        let mut values: Vec<Output> = feeds.iter().map(|f| f.0).collect();
        let row_numbers = g.constant(Tensor::vector(&(0..rows).map(|row| row as f32).collect::<Vec<_>>()))?;
        for _ in 0..3 + random.below(30) {
            let pick = |random: &mut Random, values: &[Output]| values[values.len() - 1 - random.below(values.len().min(6))];
            let (a, b) = (pick(&mut random, &values), pick(&mut random, &values));
            let value = match random.below(12) {
                0..4 => g.op(ONE[random.below(ONE.len())]).input(a).output()?,
                4..10 => {
                    let op = TWO[random.below(TWO.len())];
                    if op == "AddN" { g.op(op).input_list(&[a, b]).output()? } else { g.op(op).input(a).input(b).output()? }
                }
                10 => {
                    let axis = g.constant(1i32)?;
                    let split = g.op("Split").input(axis).input(a).attr("num_split", 4i64).finish()?;
                    let parts: Vec<Output> = (0..4).map(|i| split.output(i)).collect();
                    let mixed = g.op("Mul").input(parts[0]).input(parts[1]).output()?;
                    let axis = g.constant(-1i32)?;
                    g.op("ConcatV2").input_list(&[mixed, parts[2], parts[3], parts[0]]).input(axis).output()?
                }
                _ => {
                    let less = g.op("Less").input(a).input(b).output()?;
                    match random.below(4) {
                        0 => g.op("Select").input(less).input(a).input(b).output()?,
                        1 => {
                            // A condition for each row, computed beside the rest.
                            let limit = g.constant(random.below(rows + 1) as f32)?;
                            let first = g.op("Less").input(row_numbers).input(limit).output()?;
                            g.op("Select").input(first).input(a).input(b).output()?
                        }
                        _ => g.op("SelectV2").input(less).input(a).input(b).output()?,
                    }
                }
            };
            values.push(value);
        }
        let feeds: Vec<(Output, &Tensor)> = feeds.iter().map(|(o, t)| (*o, t)).collect();
        let last = values[values.len() - 1];
        check(&format!("seed {seed}"), &g, &[last], &feeds);
        let several = [values[values.len() / 2], values[values.len() - 2], last];
        check(&format!("seed {seed}, several"), &g, &several, &feeds);
        // What is fed in the middle is not computed.
        let middle = values[values.len() / 2];
        let fed = random.tensor(&[rows, columns]);
        let mut more = feeds.clone();
        if feeds.iter().all(|f| f.0 != middle) {
            more.push((middle, &fed));
        }
        check(&format!("seed {seed}, fed"), &g, &[last], &more);
    }
    Ok(())
}

/// Groups over tensors so large that outputs are written over inputs that nobody else holds: inputs that are read once more
/// later, that are fetched, that repeat, and parts.
#[test]
fn large_elementwise_groups() -> Result<()> {
    let mut random = Random(11);
    for dims in [[70, 300], [300, 64]] {
        let g = Graph::new();
        let feeds = [
            (g.placeholder(DType::Float, Shape::unknown())?, random.tensor(&dims)),
            (g.placeholder(DType::Float, Shape::unknown())?, random.tensor(&dims[1..])),
        ];
        // What no group computes.
        let outside = |x: Output| g.op("Sin").input(x).output();
        let (x, row) = (outside(feeds[0].0)?, outside(feeds[1].0)?);
        let tanh = g.tanh(x)?;
        let again = g.mul(tanh, x)?;
        let chain = g.op("Relu").input(g.sub(g.mul(outside(again)?, 2f32)?, row)?).output()?;
        let two = g.add(g.neg(outside(chain)?)?, g.square(outside(tanh)?)?)?;
        let axis = g.constant(1i32)?;
        let whole = outside(two)?;
        let split = g.op("Split").input(axis).input(whole).attr("num_split", 2i64).finish()?;
        let parts = g.mul(g.sigmoid(split.output(0))?, split.output(1))?;
        let feeds: Vec<(Output, &Tensor)> = feeds.iter().map(|(o, t)| (*o, t)).collect();
        let all: [&[Output]; 5] = [&[two], &[tanh, again], &[parts], &[x, again, chain, two], &[tanh, whole, parts]];
        for (at, fetches) in all.into_iter().enumerate() {
            check(&format!("{dims:?}, fetches {at}"), &g, fetches, &feeds);
        }
    }
    Ok(())
}

/// Outputs, states and gradients of recurrent networks, with several batch sizes, layers and lengths.
#[test]
fn recurrent_networks() -> Result<()> {
    for (case, layers, gru, units, batch, known_batch) in [
        ("lstm", 1, false, 4, 1, true),
        ("gru", 1, true, 4, 1, true),
        ("two layers", 2, false, 4, 3, true),
        ("any batch", 1, false, 4, 2, false),
        ("large batch", 2, false, 20, 10, true),
    ] {
        for lengths in [false, true] {
            let g = Graph::new();
            g.set_random_seed(7);
            let (steps, inputs) = (5, 3);
            let mut random = Random(11 + layers as u64);
            let x = g.placeholder(DType::Float, [None, known_batch.then_some(batch), Some(inputs)])?;
            let cell =
                || -> Box<dyn RNNCell> { if gru { Box::new(GRUCell::new(units)) } else { Box::new(LSTMCell::new(units)) } };
            let stacked = MultiRNNCell::new((0..layers).map(|_| cell()).collect())?;
            let mut options = RnnOptions { time_major: true, dtype: Some(DType::Float), ..RnnOptions::default() };
            if lengths {
                let some: Vec<i32> = (0..batch as i32).map(|i| 2 + i % 4).collect();
                options.sequence_length = Some(g.constant(Tensor::vector(&some))?.into());
            }
            let (outputs, _) = g.dynamic_rnn(&stacked, x, &options)?;
            let square = g.square(outputs)?;
            let axes = g.constant(Tensor::vector(&[0i32, 1, 2]))?;
            let loss = g.op("Sum").input(square).input(axes).output()?;
            let mut xs: Vec<Output> = g.trainable_variables().iter().map(|v| v.value()).collect::<Result<_>>()?;
            xs.push(x);
            let gradients = g.gradients(&[loss], &xs, &GradientOptions::default())?;
            let mut fetches = vec![outputs, loss];
            fetches.extend(gradients.into_iter().flatten().filter_map(|gradient| gradient.dense()));
            let init = g.global_variables_initializer()?;
            let value = random.tensor(&[steps, batch, inputs]);
            check_after(&format!("{case}, lengths {lengths}"), &g, &[init], &fetches, &[(x, &value)]);
            check_after(&format!("{case}, lengths {lengths}, forward"), &g, &[init], &fetches[..1], &[(x, &value)]);
            // A sequence of one step, and of none.
            for steps in [1, 0] {
                let value = random.tensor(&[steps, batch, inputs]);
                check_after(&format!("{case}, {steps} steps"), &g, &[init], &fetches, &[(x, &value)]);
            }
        }
    }
    Ok(())
}

/// Loops over single numbers, and the same over vectors, with several numbers of iterations.
#[test]
fn scalar_loops() -> Result<()> {
    for start_value in [Tensor::scalar(3f32), Tensor::vector(&[1f32]), Tensor::vector(&[1f32, 2.0])] {
        let g = Graph::new();
        let end = g.placeholder(DType::Int32, Shape::known(&[]))?;
        let start = g.placeholder(DType::Float, start_value.shape())?;
        let (count, flag) = (g.constant(0i32)?, g.constant(true)?);
        let out = g.while_loop(
            |g, v| {
                let less = g.op("Less").input(v[0]).input(end).output()?;
                g.op("LogicalAnd").input(less).input(v[2]).output()
            },
            |g, v| {
                let (one, half) = (g.constant(1i32)?, g.constant(0.5f32)?);
                let next = g.op("AddV2").input(v[0]).input(one).output()?;
                let scaled = g.op("Mul").input(v[1]).input(half).output()?;
                let moved = g.op("AddN").input_list(&[scaled, v[3], v[3]]).output()?;
                let small = g.op("Less").input(moved).input(start).output()?;
                let picked = g.op("SelectV2").input(small).input(moved).input(half).output()?;
                let early = g.op("LessEqual").input(next).input(end).output()?;
                let goes_on = g.op("LogicalAnd").input(early).input(v[2]).output()?;
                Ok(vec![next, moved, goes_on, picked])
            },
            vec![count, start, flag, start],
            &metagraph::WhileOptions::default(),
        )?;
        for limit in [0i32, 1, 2, 5000] {
            let feeds = [(end, &Tensor::scalar(limit)), (start, &start_value)];
            check(&format!("limit {limit}, from {start_value}"), &g, &out, &feeds);
        }
    }
    Ok(())
}

/// A chain of sums of constants of which each waits for another node, within a branch and outside.
#[test]
fn constants_that_wait() -> Result<()> {
    let g = Graph::new();
    let x = g.placeholder(DType::Float, Shape::known(&[]))?;
    let flag = g.placeholder(DType::Bool, Shape::known(&[]))?;
    let chain = |g: &Graph| -> Result<Output> {
        let mut sum = g.constant(0f32)?;
        for _ in 0..40 {
            let checked = g.op("CheckNumerics").input(x).attr("message", "waited for").finish()?;
            let _waits = g.control_dependencies(&[checked])?;
            let one = g.constant(1f32)?;
            sum = g.op("AddV2").input(sum).input(one).output()?;
        }
        Ok(sum)
    };
    let outside = chain(&g)?;
    let branch = g.cond(flag, chain, |g| g.constant(-1f32))?;
    for taken in [true, false] {
        for value in [2f32, f32::NAN] {
            let feeds = [(x, &Tensor::scalar(value)), (flag, &Tensor::scalar(taken))];
            check(&format!("branch, {taken}, {value}"), &g, &[branch], &feeds);
            check(&format!("outside, {taken}, {value}"), &g, &[outside, branch], &feeds);
        }
    }
    let fed = [(x, &Tensor::scalar(f32::NAN)), (flag, &Tensor::scalar(true))];
    assert!(Session::new(&g).run(&[branch], &fed).unwrap_err().to_string().contains("waited for"));
    Ok(())
}

/// Both directions of a bidirectional network and their gradients; loops of different lengths, of which one needs the
/// other, or fails.
#[test]
fn independent_loops() -> Result<()> {
    let g = Graph::new();
    g.set_random_seed(3);
    let x = g.placeholder(DType::Float, [Some(3), None, Some(4)])?;
    let lengths = g.constant(Tensor::vector(&[2i32, 5, 1]))?;
    let options = BidirectionalOptions {
        sequence_length: Some(lengths.into()),
        dtype: Some(DType::Float),
        ..BidirectionalOptions::default()
    };
    let both = g.bidirectional_dynamic_rnn(&LSTMCell::new(5), &GRUCell::new(6), x, &options)?;
    let axis = g.constant(2i32)?;
    let joined = g.op("ConcatV2").input_list(&[both.outputs.0, both.outputs.1]).input(axis).output()?;
    let square = g.square(joined)?;
    let mut xs: Vec<Output> = g.trainable_variables().iter().map(|v| v.value()).collect::<Result<_>>()?;
    xs.push(x);
    let gradients = g.gradients(&[square], &xs, &GradientOptions::default())?;
    let mut fetches = vec![joined];
    fetches.extend(gradients.into_iter().flatten().filter_map(|gradient| gradient.dense()));
    let init = g.global_variables_initializer()?;
    for steps in [5, 9] {
        check_after("bidirectional", &g, &[init], &fetches, &[(x, &Random(5).tensor(&[3, steps, 4]))]);
    }

    let g = Graph::new();
    let start = g.placeholder(DType::Float, [None, Some(8)])?;
    let grow = |times: i32, from: Output, checked: bool| -> Result<Output> {
        let zero = g.constant(0i32)?;
        let below = |g: &Graph, v: &Vec<Output>| g.op("Less").input(v[0]).input(g.constant(times)?).output();
        let body = |g: &Graph, v: Vec<Output>| {
            let next = g.op("AddV2").input(v[0]).input(g.constant(1i32)?).output()?;
            let product = g.op("MatMul").input(v[1]).input(v[1]).attr("transpose_b", true).output()?;
            let small = g.op("Tanh").input(g.op("MatMul").input(product).input(v[1]).output()?).output()?;
            let message = if checked { "too far" } else { "" };
            let small = if checked { g.op("CheckNumerics").input(small).attr("message", message).output()? } else { small };
            Ok(vec![next, small])
        };
        Ok(g.while_loop(below, body, vec![zero, from], &metagraph::WhileOptions::default())?[1])
    };
    let (short, long) = (grow(2, start, false)?, grow(40, start, true)?);
    let (after, sure) = (grow(3, short, true)?, grow(7, start, false)?);
    let value = Random(9).tensor(&[5, 8]);
    check("four loops", &g, &[short, long, after, sure], &[(start, &value)]);
    let bad = Tensor::new(&[1, 8], vec![f32::NAN; 8])?;
    check("two fail", &g, &[short, long, after, sure], &[(start, &bad)]);
    let error = Session::new(&g).run(&[long, sure], &[(start, &bad)]).expect_err("not a number").to_string();
    assert!(error.contains("too far") && error.contains("iteration 0"), "{error}");
    Ok(())
}

/// Two loops on one TensorArray, of which the second has nothing of the first and waits for it alone.
#[test]
fn loops_that_wait() -> Result<()> {
    for through_identity in [false, true] {
        let g = Graph::new();
        let x = g.placeholder(DType::Float, [Some(20), Some(20)])?;
        let n = 40i32;
        let options = TensorArrayOptions { clear_after_read: false, ..TensorArrayOptions::default() };
        let array = TensorArray::new(&g, DType::Float, n, &options)?;
        let fill = |g: &Graph, (i, value, to): (Output, Output, TensorArray)| {
            let value = g.tanh(g.matmul(value, g.mul(x, 0.1f32)?)?)?;
            Ok((g.add(i, 1i32)?, value, to.write(g, i, value)?))
        };
        let zero = g.placeholder(DType::Int32, Shape::scalar())?;
        let below = |g: &Graph, (i, ..): &(Output, Output, TensorArray)| g.less(*i, n);
        let filled = g.while_loop(below, fill, (zero, x, array.clone()), &WhileOptions::default())?;
        // Reads by the flow that was there before the loop.
        let flow = filled.2.flow();
        let last = if through_identity { g.identity(flow)? } else { flow };
        let start = {
            let _after = g.control_dependencies(&[last.op])?;
            g.identity(zero)?
        };
        let below = |g: &Graph, (i, _): &(Output, Output)| g.less(*i, n);
        let add = |g: &Graph, (i, sum): (Output, Output)| {
            let element = array.read(g, g.sub(n - 1, i)?)?;
            Ok((g.add(i, 1i32)?, g.tanh(g.add(g.matmul(sum, g.mul(x, 0.1f32)?)?, element)?)?))
        };
        let (_, sum) = g.while_loop(below, add, (start, x), &WhileOptions::default())?;
        let value = Random(4).tensor(&[20, 20]);
        Session::new(&g).run(&[sum], &[(x, &value), (zero, &Tensor::scalar(0i32))])?;
        for _ in 0..5 {
            check("loops that wait", &g, &[sum], &[(x, &value), (zero, &Tensor::scalar(0i32))]);
        }
    }
    Ok(())
}

/// Products with a matrix that is taken so often that it is laid out, then changes, in a loop and outside, of few rows and
/// many, by reference and by handle.
#[test]
fn matrices_that_change() -> Result<()> {
    let (depth, columns) = (40, 130);
    let mut random = Random(5);
    for use_resource in [false, true] {
        let g = Graph::new();
        let x = g.placeholder(DType::Float, [None, Some(depth)])?;
        let initial = g.constant(random.tensor(&[depth, columns]))?;
        let options = VariableOptions { use_resource: Some(use_resource), ..VariableOptions::default() };
        let w = g.variable_with(initial, options)?;
        let transposed = g.transpose(w.value()?, None)?;
        let plain = g.matmul(x, w.value()?)?;
        let back = g.op("MatMul").input(plain).input(w.value()?).attr("transpose_b", true).output()?;
        let other = g.matmul(plain, transposed)?;
        let (start, weights) = (g.constant(0i32)?, w.value()?);
        let looped = g.while_loop(
            |g, v: &Vec<Output>| g.less(v[0], 6i32),
            |g, v: Vec<Output>| {
                let product = g.matmul(v[1], weights)?;
                let back = g.op("MatMul").input(product).input(weights).attr("transpose_b", true).output()?;
                Ok(vec![g.add(v[0], 1i32)?, g.mul(g.tanh(back)?, 0.5f32)?])
            },
            vec![start, x],
            &WhileOptions::default(),
        )?;
        let change = w.assign_add(g.constant(random.tensor(&[depth, columns]))?)?.op();
        let init = g.global_variables_initializer()?;
        let fetches = [plain, back, other, looped[1]];
        let inputs: Vec<Tensor> = [1, 3, 12, 1].iter().map(|&rows| random.tensor(&[rows, depth])).collect();
        let run = |rewrites: Rewrites| -> Result<Vec<Tensor>> {
            let mut options = SessionOptions::default();
            options.rewrites = rewrites;
            let session = Session::with_options(&g, options);
            session.run_targets(&[init], &[])?;
            let mut all = Vec::new();
            for x_value in &inputs {
                for _ in 0..6 {
                    all.extend(session.run(&fetches, &[(x, x_value)])?);
                }
                session.run_targets(&[change], &[])?;
                all.extend(session.run(&fetches, &[(x, x_value)])?);
            }
            Ok(all)
        };
        let (expected, found) = (run(Rewrites::NONE)?, run(Rewrites::ALL)?);
        for (at, (a, b)) in expected.iter().zip(&found).enumerate() {
            let (a_slice, b_slice) = (a.as_slice::<f32>()?, b.as_slice::<f32>()?);
            let near = a_slice.iter().zip(b_slice).all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs().max(10.0));
            assert!(a.dims() == b.dims() && near, "resource {use_resource}, {at}: {b}, without rewrites {a}");
        }
        // What is taken again gives the same bits, laid out or not.
        let same = |at: usize| (0..fetches.len()).all(|k| found[at + k] == found[k + at / 28 * 28]);
        assert!((0..inputs.len()).all(|input| (0..6).all(|turn| same(input * 28 + turn * 4))), "resource {use_resource}");
    }
    Ok(())
}
