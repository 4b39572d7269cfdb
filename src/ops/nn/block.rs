//! LSTM and GRU cells as one op, over a step or a whole sequence.

use crate::compute::gemm::{Matrix, MatrixMut, Onto, gemm};
use crate::error::{Result, bail};
use crate::graph::Output;
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation};
use crate::tensor::{DType, Dims, Shape, Tensor};
use half::f16;

const STEP_INS: &[&str] = &["x: T", "cs_prev: T", "h_prev: T", "w: T", "wci: T", "wcf: T", "wco: T", "b: T"];
const OUTS: &[&str] = &["i: T", "cs: T", "f: T", "o: T", "ci: T", "co: T", "h: T"];
const SEQUENCE_INS: &[&str] =
    &["seq_len_max: int64", "x: T", "cs_prev: T", "h_prev: T", "w: T", "wci: T", "wcf: T", "wco: T", "b: T"];
const GRAD_INS: &[&str] = &[
    "seq_len_max: int64",
    "x: T",
    "cs_prev: T",
    "h_prev: T",
    "w: T",
    "wci: T",
    "wcf: T",
    "wco: T",
    "b: T",
    "i: T",
    "cs: T",
    "f: T",
    "o: T",
    "ci: T",
    "co: T",
    "h: T",
    "cs_grad: T",
    "h_grad: T",
];
const STEP_GRAD_INS: &[&str] = &[
    "x: T",
    "cs_prev: T",
    "h_prev: T",
    "w: T",
    "wci: T",
    "wcf: T",
    "wco: T",
    "b: T",
    "i: T",
    "cs: T",
    "f: T",
    "o: T",
    "ci: T",
    "co: T",
    "cs_grad: T",
    "h_grad: T",
];
const GRAD_OUTS: &[&str] =
    &["x_grad: T", "cs_prev_grad: T", "h_prev_grad: T", "w_grad: T", "wci_grad: T", "wcf_grad: T", "wco_grad: T", "b_grad: T"];
const ATTRS: &[&str] = &["forget_bias: float = 1.0", "cell_clip: float = 3.0", "use_peephole: bool = false", "T: {half, float}"];
const ATTRS_V2: &[&str] = &["cell_clip: float = 0.0", "use_peephole: bool = false", "T: {half, float}"];
const GRAD_ATTRS: &[&str] = &["use_peephole: bool", "T: {half, float}"];

pub(super) static OPS: &[Op] = &[
    Op {
        name: "LSTMBlockCell",
        ins: STEP_INS,
        outs: OUTS,
        attrs: ATTRS,
        shape: step_shape,
        kernel: Kernel::Pure(lstm_step),
        grad: Grad::Missing,
        rows: &[
            "forget_bias=1, cell_clip=-1; f32[[1]], f32[[1]], f32[[0]], f32[[0 0 0 0] [0 0 0 0]], f32[0], f32[0], f32[0], f32[0 0 0 0] => f32[[0.5]], f32[[0.7310586]], f32[[0.7310586]], f32[[0.5]], f32[[0]], f32[[0.6237126]], f32[[0.3118563]]",
        ],
    },
    Op {
        name: "BlockLSTM",
        ins: SEQUENCE_INS,
        outs: OUTS,
        attrs: ATTRS,
        shape: sequence_shape,
        kernel: Kernel::Pure(lstm_sequence),
        grad: Grad::Fn(sequence_grad),
        rows: &[
            "cell_clip=-1; i64 1, f32[[[1]]], f32[[1]], f32[[0]], f32[[0 0 0 0] [0 0 0 0]], f32[0], f32[0], f32[0], f32[0 0 0 0] => f32[[[0.5]]], f32[[[0.7310586]]], f32[[[0.7310586]]], f32[[[0.5]]], f32[[[0]]], f32[[[0.6237126]]], f32[[[0.3118563]]]",
        ],
    },
    Op {
        name: "BlockLSTMV2",
        ins: SEQUENCE_INS,
        outs: OUTS,
        attrs: ATTRS_V2,
        shape: sequence_shape,
        kernel: Kernel::Pure(lstm_sequence),
        grad: Grad::Fn(sequence_grad),
        rows: &[
            "; i64 1, f32[[[1]]], f32[[1]], f32[[0]], f32[[0 0 0 0] [0 0 0 0]], f32[0], f32[0], f32[0], f32[0 0 0 0] => f32[[[0.5]]], f32[[[0.5]]], f32[[[0.5]]], f32[[[0.5]]], f32[[[0]]], f32[[[0.4621172]]], f32[[[0.2310586]]]",
        ],
    },
    Op {
        name: "BlockLSTMGrad",
        ins: GRAD_INS,
        outs: GRAD_OUTS,
        attrs: GRAD_ATTRS,
        shape: grad_shape,
        kernel: Kernel::Stateful(lstm_gradient),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "BlockLSTMGradV2",
        ins: GRAD_INS,
        outs: GRAD_OUTS,
        attrs: GRAD_ATTRS,
        shape: grad_shape,
        kernel: Kernel::Stateful(lstm_gradient),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "GRUBlockCell",
        ins: &["x: T", "h_prev: T", "w_ru: T", "w_c: T", "b_ru: T", "b_c: T"],
        outs: &["r: T", "u: T", "c: T", "h: T"],
        attrs: &["T: {float}"],
        shape: gru_shape,
        kernel: Kernel::Pure(gru_step),
        grad: Grad::Missing,
        rows: &[
            "; f32[[1]], f32[[2]], f32[[0 0] [0 0]], f32[[0] [0]], f32[0 0], f32[0] => f32[[0.5]], f32[[0.5]], f32[[0]], f32[[1]]",
        ],
    },
    Op {
        name: "LSTMBlockCellGrad",
        ins: STEP_GRAD_INS,
        outs: &["cs_prev_grad: T", "dicfo: T", "wci_grad: T", "wcf_grad: T", "wco_grad: T"],
        attrs: GRAD_ATTRS,
        shape: step_grad_shape,
        kernel: Kernel::Pure(lstm_step_gradient),
        grad: Grad::Missing,
        rows: &[
            "use_peephole=false; f32[[1]], f32[[2]], f32[[0]], f32[[0 0 0 0] [0 0 0 0]], f32[0], f32[0], f32[0], f32[0 0 0 0], f32[[0.5]], f32[[1]], f32[[0.5]], f32[[0.5]], f32[[0]], f32[[0.5]], f32[[1]], f32[[2]] => f32[[0.875]], f32[[0 0.875 0.875 0.25]], f32[0], f32[0], f32[0]",
        ],
    },
    Op {
        name: "GRUBlockCellGrad",
        ins: &["x: T", "h_prev: T", "w_ru: T", "w_c: T", "b_ru: T", "b_c: T", "r: T", "u: T", "c: T", "d_h: T"],
        outs: &["d_x: T", "d_h_prev: T", "d_c_bar: T", "d_r_bar_u_bar: T"],
        attrs: &["T: {float}"],
        shape: gru_grad_shape,
        kernel: Kernel::Pure(gru_gradient),
        grad: Grad::Missing,
        rows: &[
            "; f32[[1]], f32[[2]], f32[[0 0] [0 0]], f32[[1] [2]], f32[0 0], f32[0], f32[[0.5]], f32[[0.5]], f32[[0]], f32[[1]] => f32[[0.5]], f32[[1]], f32[[0.5]], f32[[0.5 0.5]]",
        ],
    },
];

fn step_shape(ctx: &mut InferCtx) -> Result<()> {
    let (x, cs) = (ctx.input(0).with_rank(2)?, ctx.input(1).with_rank(2)?);
    let shape = Shape::matrix(x.dim(0), cs.dim(1));
    (0..7).try_for_each(|i| ctx.set(i, shape.clone()))
}

fn sequence_shape(ctx: &mut InferCtx) -> Result<()> {
    let (x, b) = (ctx.input(1).with_rank(3)?, ctx.input(8).with_rank(1)?);
    let shape = Shape::of_rank(3).with_dim(0, x.dim(0)).with_dim(1, x.dim(1)).with_dim(2, b.dim(0).map(|n| n / 4));
    (0..7).try_for_each(|i| ctx.set(i, shape.clone()))
}

/// Gradients have the shapes of what they are the gradients of.
fn grad_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(1).with_rank(3)?;
    (0..8).try_for_each(|i| ctx.set(i, ctx.input(i + 1)))
}

fn gru_shape(ctx: &mut InferCtx) -> Result<()> {
    let (x, h) = (ctx.input(0).with_rank(2)?, ctx.input(1).with_rank(2)?);
    let shape = Shape::matrix(x.dim(0), h.dim(1));
    (0..4).try_for_each(|i| ctx.set(i, shape.clone()))
}

fn step_grad_shape(ctx: &mut InferCtx) -> Result<()> {
    let (x, cs) = (ctx.input(0).with_rank(2)?, ctx.input(1).with_rank(2)?);
    ctx.set(0, Shape::matrix(x.dim(0), cs.dim(1)))?;
    ctx.set(1, Shape::matrix(x.dim(0), cs.dim(1).map(|n| 4 * n)))?;
    (2..5).try_for_each(|i| ctx.set(i, ctx.input(i + 2)))
}

fn gru_grad_shape(ctx: &mut InferCtx) -> Result<()> {
    let (x, h) = (ctx.input(0).with_rank(2)?, ctx.input(1).with_rank(2)?);
    let states = Shape::matrix(x.dim(0), h.dim(1));
    ctx.set(0, x.clone())?;
    ctx.set(1, states.clone())?;
    ctx.set(2, states)?;
    ctx.set(3, Shape::matrix(x.dim(0), h.dim(1).map(|n| 2 * n)))
}

/// An input as floats, and its dimensions, which must be these; `None` for any size.
fn floats(ctx: &KernelCtx, index: usize, name: &str, dims: &[Option<usize>]) -> Result<Vec<f32>> {
    let input = ctx.input(index)?;
    let fits = input.rank() == dims.len() && input.dims().iter().zip(dims).all(|(d, e)| e.is_none_or(|e| e == *d));
    if !fits {
        bail!(InvalidArgument, "{name} must have shape {dims:?}, got {:?}", input.dims());
    }
    match input.dtype() {
        DType::Half => Ok(input.as_slice::<f16>()?.iter().map(|v| v.to_f32()).collect()),
        _ => Ok(input.as_slice::<f32>()?.to_vec()),
    }
}

fn set(ctx: &mut KernelCtx, index: usize, dims: &[usize], values: Vec<f32>) -> Result<()> {
    let tensor = match ctx.node().output_types[index] {
        DType::Half => Tensor::new(dims, values.into_iter().map(f16::from_f32).collect())?,
        _ => Tensor::new(dims, values)?,
    };
    ctx.set(index, tensor)
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// `[x, h]` row by row.
fn beside(x: &[f32], h: &[f32], rows: usize) -> Vec<f32> {
    let (a, b) = (x.len() / rows.max(1), h.len() / rows.max(1));
    (0..rows).flat_map(|r| x[r * a..][..a].iter().chain(&h[r * b..][..b])).copied().collect()
}

/// The weights of an LSTM and how its gates lie in them.
struct Lstm {
    inputs: usize,
    units: usize,
    w: Vec<f32>,
    b: Vec<f32>,
    peepholes: Option<[Vec<f32>; 3]>,
    forget_bias: f32,
    clip: f32,
    /// The places of the gates i, ci, f, o.
    gates: [usize; 4],
}

/// What the way forward left of one element: gates, state, activations, and the state before.
struct Element {
    i: f32,
    cs: f32,
    f: f32,
    o: f32,
    ci: f32,
    co: f32,
    cs_prev: f32,
}

impl Lstm {
    /// Reads what starts at input `x`: x, cs_prev, h_prev, w, wci, wcf, wco, b.
    fn read(ctx: &KernelCtx, x: usize) -> Result<(Lstm, Dims)> {
        let node = ctx.node();
        let dims = Dims::from_slice(ctx.input(x)?.dims());
        let rank = if x == 0 { 2 } else { 3 };
        let (Some(&inputs), true) = (dims.last(), dims.len() == rank) else {
            bail!(InvalidArgument, "x must be of rank {rank}, got shape {dims:?}")
        };
        let states = ctx.input(x + 1)?;
        let (Some(&units), 2) = (states.dims().last(), states.rank()) else {
            bail!(InvalidArgument, "cs_prev must be 2-dimensional, got shape {:?}", states.dims())
        };
        let w = floats(ctx, x + 3, "w", &[Some(inputs + units), Some(4 * units)])?;
        let b = floats(ctx, x + 7, "b", &[Some(4 * units)])?;
        let peepholes = match node.boolean("use_peephole")? {
            false if rank == 2 => None,
            used => {
                let read = |at: usize, name| floats(ctx, x + at, name, &[Some(units)]);
                let all = [read(4, "wci")?, read(5, "wcf")?, read(6, "wco")?];
                used.then_some(all)
            }
        };
        let second = node.op.ends_with("V2");
        let forget_bias = if node.attrs.contains_key("forget_bias") { node.float("forget_bias")? } else { 0.0 };
        let clip = if node.attrs.contains_key("cell_clip") { node.float("cell_clip")? } else { 0.0 };
        let gates = if second { [0, 2, 1, 3] } else { [0, 1, 2, 3] };
        Ok((Lstm { inputs, units, w, b, peepholes, forget_bias, clip, gates }, dims))
    }

    /// One step. `out` are i, cs, f, o, ci, co, h.
    fn step(&self, rows: usize, x: &[f32], cs_prev: &[f32], h_prev: &[f32], out: &mut [Vec<f32>; 7]) {
        let n = self.units;
        let xh = beside(x, h_prev, rows);
        let mut all = vec![0.0; rows * 4 * n];
        let bias = Matrix::strided(&self.b, rows, 4 * n, 0, 1);
        let weights = Matrix::new(&self.w, self.inputs + n, 4 * n);
        gemm(Matrix::new(&xh, rows, self.inputs + n), weights, MatrixMut::new(&mut all, rows, 4 * n), Onto::Rows(bias));
        for row in 0..rows {
            for unit in 0..n {
                let at = row * n + unit;
                let gate = |g: usize| all[row * 4 * n + self.gates[g] * n + unit];
                let peep = |p: usize, value: f32| self.peepholes.as_ref().map_or(0.0, |w| w[p][unit] * value);
                let i = sigmoid(gate(0) + peep(0, cs_prev[at]));
                let ci = gate(1).tanh();
                let f = sigmoid(gate(2) + self.forget_bias + peep(1, cs_prev[at]));
                let mut cs = ci * i + f * cs_prev[at];
                if self.clip > 0.0 {
                    cs = cs.clamp(-self.clip, self.clip);
                }
                let o = sigmoid(gate(3) + peep(2, cs));
                let co = cs.tanh();
                for (values, value) in out.iter_mut().zip([i, cs, f, o, ci, co, o * co]) {
                    values.push(value);
                }
            }
        }
    }

    /// What goes back through one element whose output has the gradient `dh` and whose state has `dcs`: the gradients of
    /// the gates i, ci, f, o and of the state before; those of the peepholes are added up.
    fn back(&self, unit: usize, at: &Element, dh: f32, mut dcs: f32, peep_grads: &mut [Vec<f32>; 3]) -> ([f32; 4], f32) {
        let d_o = at.o * (1.0 - at.o) * dh * at.co;
        if let Some([_, _, wco]) = &self.peepholes {
            dcs += d_o * wco[unit];
        }
        let dci = (1.0 - at.ci * at.ci) * dcs * at.i;
        let df = at.f * (1.0 - at.f) * dcs * at.cs_prev;
        let di = at.i * (1.0 - at.i) * dcs * at.ci;
        let mut dcs_prev = dcs * at.f;
        if let Some([wci, wcf, _]) = &self.peepholes {
            dcs_prev += di * wci[unit] + df * wcf[unit];
            peep_grads[0][unit] += di * at.cs_prev;
            peep_grads[1][unit] += df * at.cs_prev;
            peep_grads[2][unit] += d_o * at.cs;
        }
        ([di, dci, df, d_o], dcs_prev)
    }
}

fn lstm_step(ctx: &mut KernelCtx) -> Result<()> {
    let (lstm, dims) = Lstm::read(ctx, 0)?;
    let (rows, n) = (dims[0], lstm.units);
    let x = floats(ctx, 0, "x", &[Some(rows), None])?;
    let cs = floats(ctx, 1, "cs_prev", &[Some(rows), Some(n)])?;
    let h = floats(ctx, 2, "h_prev", &[Some(rows), Some(n)])?;
    let mut out: [Vec<f32>; 7] = Default::default();
    lstm.step(rows, &x, &cs, &h, &mut out);
    out.into_iter().enumerate().try_for_each(|(i, values)| set(ctx, i, &[rows, n], values))
}

/// The number of steps that are run; behind them all outputs are zero.
fn steps(ctx: &KernelCtx, time: usize) -> Result<usize> {
    let length = ctx.input(0)?;
    match (length.rank(), usize::try_from(length.item_i64()?)) {
        (0, Ok(steps)) if steps <= time => Ok(steps),
        _ => bail!(InvalidArgument, "seq_len_max must be a scalar in [0, {time}], got {length}"),
    }
}

fn lstm_sequence(ctx: &mut KernelCtx) -> Result<()> {
    let (lstm, dims) = Lstm::read(ctx, 1)?;
    let (time, rows, n) = (dims[0], dims[1], lstm.units);
    let x = floats(ctx, 1, "x", &[None, None, None])?;
    let mut cs = floats(ctx, 2, "cs_prev", &[Some(rows), Some(n)])?;
    let mut h = floats(ctx, 3, "h_prev", &[Some(rows), Some(n)])?;
    let steps = steps(ctx, time)?;
    let mut out: [Vec<f32>; 7] = Default::default();
    for step in 0..steps {
        lstm.step(rows, &x[step * rows * lstm.inputs..][..rows * lstm.inputs], &cs, &h, &mut out);
        cs = out[1][step * rows * n..].to_vec();
        h = out[6][step * rows * n..].to_vec();
    }
    for (index, mut values) in out.into_iter().enumerate() {
        values.resize(time * rows * n, 0.0);
        set(ctx, index, &[time, rows, n], values)?;
    }
    Ok(())
}

fn lstm_gradient(ctx: &mut KernelCtx) -> Result<()> {
    let (lstm, dims) = Lstm::read(ctx, 1)?;
    let (time, rows, n, inputs) = (dims[0], dims[1], lstm.units, lstm.inputs);
    let steps = steps(ctx, time)?;
    let x = floats(ctx, 1, "x", &[None, None, None])?;
    let state = [Some(rows), Some(n)];
    let (cs_first, h_first) = (floats(ctx, 2, "cs_prev", &state)?, floats(ctx, 3, "h_prev", &state)?);
    let whole = [Some(time), Some(rows), Some(n)];
    let mut kept = Vec::with_capacity(9);
    for (at, name) in ["i", "cs", "f", "o", "ci", "co", "h", "cs_grad", "h_grad"].iter().enumerate() {
        kept.push(floats(ctx, 9 + at, name, &whole)?);
    }
    let [i, cs, f, o, ci, co, h, cs_grad, h_grad] = &kept[..] else { bail!(Internal, "nine sequences are read") };
    let size = rows * n;
    let mut x_grad = vec![0.0; time * rows * inputs];
    let (mut dcs_next, mut dh_next) = (vec![0.0f32; size], vec![0.0f32; size]);
    let mut w_grad = vec![0.0; (inputs + n) * 4 * n];
    let mut b_grad = vec![0.0; 4 * n];
    let mut peep_grads = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
    for step in (0..steps).rev() {
        let from = step * size;
        let (cs_prev, h_prev) = match step {
            0 => (&cs_first[..], &h_first[..]),
            _ => (&cs[from - size..from], &h[from - size..from]),
        };
        let mut gates = vec![0.0; rows * 4 * n];
        for at in 0..size {
            let (row, unit, t) = (at / n, at % n, from + at);
            let dh = h_grad[t] + dh_next[at];
            let dcs = (1.0 - co[t] * co[t]) * dh * o[t] + cs_grad[t] + dcs_next[at];
            let element = Element { i: i[t], cs: cs[t], f: f[t], o: o[t], ci: ci[t], co: co[t], cs_prev: cs_prev[at] };
            let (gate_grads, dcs_prev) = lstm.back(unit, &element, dh, dcs, &mut peep_grads);
            dcs_next[at] = dcs_prev;
            for (gate, value) in gate_grads.into_iter().enumerate() {
                gates[row * 4 * n + lstm.gates[gate] * n + unit] = value;
                b_grad[lstm.gates[gate] * n + unit] += value;
            }
        }
        let xh = beside(&x[step * rows * inputs..][..rows * inputs], h_prev, rows);
        let mut xh_grad = vec![0.0; rows * (inputs + n)];
        let d = Matrix::new(&gates, rows, 4 * n);
        let weights = Matrix::new(&lstm.w, inputs + n, 4 * n).transposed();
        gemm(d, weights, MatrixMut::new(&mut xh_grad, rows, inputs + n), Onto::Nothing);
        let d = Matrix::new(&gates, rows, 4 * n);
        let xh = Matrix::new(&xh, rows, inputs + n).transposed();
        gemm(xh, d, MatrixMut::new(&mut w_grad, inputs + n, 4 * n), Onto::Itself);
        for row in 0..rows {
            let (dx, dh) = xh_grad[row * (inputs + n)..][..inputs + n].split_at(inputs);
            x_grad[(step * rows + row) * inputs..][..inputs].copy_from_slice(dx);
            dh_next[row * n..][..n].copy_from_slice(dh);
        }
    }
    set(ctx, 0, &[time, rows, inputs], x_grad)?;
    set(ctx, 1, &[rows, n], dcs_next)?;
    set(ctx, 2, &[rows, n], dh_next)?;
    set(ctx, 3, &[inputs + n, 4 * n], w_grad)?;
    for (index, values) in peep_grads.into_iter().enumerate() {
        let dims = Dims::from_slice(ctx.input(5 + index)?.dims());
        let values = if lstm.peepholes.is_some() { values } else { vec![0.0; dims.iter().product()] };
        set(ctx, 4 + index, &dims, values)?;
    }
    set(ctx, 7, &[4 * n], b_grad)
}

fn sequence_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let name = if g.op_type(op) == "BlockLSTM" { "BlockLSTMGrad" } else { "BlockLSTMGradV2" };
    let peephole = crate::graph::attr::boolean(&g.get_attr(op, "use_peephole")?)?;
    let mut builder = g.op(name);
    for input in g.inputs(op) {
        builder = builder.input(input);
    }
    for output in g.outputs(op) {
        builder = builder.input(output);
    }
    let or_zeros = |index: usize| -> Result<Output> {
        match grads.get(index) {
            Some(_) => grads.dense(g, index),
            None => g.zeros_like(op.output(index)),
        }
    };
    let (cs_grad, h_grad) = (or_zeros(1)?, or_zeros(6)?);
    let outputs = builder.input(cs_grad).input(h_grad).attr("use_peephole", peephole).outputs()?;
    Ok(std::iter::once(None).chain(outputs.into_iter().map(|o| Some(o.into()))).collect())
}

fn gru_step(ctx: &mut KernelCtx) -> Result<()> {
    let (&[rows, inputs], &[_, n]) = (ctx.input(0)?.dims(), ctx.input(1)?.dims()) else {
        bail!(InvalidArgument, "x and h_prev must be matrices, got {:?} and {:?}", ctx.input(0)?.dims(), ctx.input(1)?.dims())
    };
    let x = floats(ctx, 0, "x", &[Some(rows), Some(inputs)])?;
    let h_prev = floats(ctx, 1, "h_prev", &[Some(rows), Some(n)])?;
    let w_ru = floats(ctx, 2, "w_ru", &[Some(inputs + n), Some(2 * n)])?;
    let w_c = floats(ctx, 3, "w_c", &[Some(inputs + n), Some(n)])?;
    let (b_ru, b_c) = (floats(ctx, 4, "b_ru", &[Some(2 * n)])?, floats(ctx, 5, "b_c", &[Some(n)])?);
    let product = |a: &[f32], w: &[f32], b: &[f32]| {
        let mut out = vec![0.0; rows * b.len()];
        let bias = Onto::Rows(Matrix::strided(b, rows, b.len(), 0, 1));
        let (a, w) = (Matrix::new(a, rows, inputs + n), Matrix::new(w, inputs + n, b.len()));
        gemm(a, w, MatrixMut::new(&mut out, rows, b.len()), bias);
        out
    };
    let ru = product(&beside(&x, &h_prev, rows), &w_ru, &b_ru);
    let part = |from: usize| (0..rows * n).map(|at| sigmoid(ru[at / n * 2 * n + from + at % n])).collect::<Vec<f32>>();
    let (r, u) = (part(0), part(n));
    let reset: Vec<f32> = h_prev.iter().zip(&r).map(|(h, r)| h * r).collect();
    let mut c = product(&beside(&x, &reset, rows), &w_c, &b_c);
    c.iter_mut().for_each(|c| *c = c.tanh());
    let h = (0..rows * n).map(|at| u[at] * h_prev[at] + (1.0 - u[at]) * c[at]).collect();
    for (index, values) in [r, u, c, h].into_iter().enumerate() {
        set(ctx, index, &[rows, n], values)?;
    }
    Ok(())
}

fn lstm_step_gradient(ctx: &mut KernelCtx) -> Result<()> {
    let (lstm, dims) = Lstm::read(ctx, 0)?;
    let (rows, n) = (dims[0], lstm.units);
    let state = [Some(rows), Some(n)];
    let cs_prev = floats(ctx, 1, "cs_prev", &state)?;
    let mut kept = Vec::with_capacity(8);
    for (at, name) in ["i", "cs", "f", "o", "ci", "co", "cs_grad", "h_grad"].iter().enumerate() {
        kept.push(floats(ctx, 8 + at, name, &state)?);
    }
    let [i, cs, f, o, ci, co, cs_grad, h_grad] = &kept[..] else { bail!(Internal, "eight states are read") };
    let mut cs_prev_grad = vec![0.0; rows * n];
    let mut gates = vec![0.0; rows * 4 * n];
    let mut peep_grads = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
    for at in 0..rows * n {
        let (row, unit) = (at / n, at % n);
        let dcs = (1.0 - co[at] * co[at]) * h_grad[at] * o[at] + cs_grad[at];
        let element = Element { i: i[at], cs: cs[at], f: f[at], o: o[at], ci: ci[at], co: co[at], cs_prev: cs_prev[at] };
        let (gate_grads, dcs_prev) = lstm.back(unit, &element, h_grad[at], dcs, &mut peep_grads);
        cs_prev_grad[at] = dcs_prev;
        for (gate, value) in gate_grads.into_iter().enumerate() {
            gates[row * 4 * n + lstm.gates[gate] * n + unit] = value;
        }
    }
    set(ctx, 0, &[rows, n], cs_prev_grad)?;
    set(ctx, 1, &[rows, 4 * n], gates)?;
    for (index, values) in peep_grads.into_iter().enumerate() {
        let dims = Dims::from_slice(ctx.input(4 + index)?.dims());
        let values = if lstm.peepholes.is_some() { values } else { vec![0.0; dims.iter().product()] };
        set(ctx, 2 + index, &dims, values)?;
    }
    Ok(())
}

fn gru_gradient(ctx: &mut KernelCtx) -> Result<()> {
    let (&[rows, inputs], &[_, n]) = (ctx.input(0)?.dims(), ctx.input(1)?.dims()) else {
        bail!(InvalidArgument, "x and h_prev must be matrices, got {:?} and {:?}", ctx.input(0)?.dims(), ctx.input(1)?.dims())
    };
    let state = [Some(rows), Some(n)];
    let h_prev = floats(ctx, 1, "h_prev", &state)?;
    let w_ru = floats(ctx, 2, "w_ru", &[Some(inputs + n), Some(2 * n)])?;
    let w_c = floats(ctx, 3, "w_c", &[Some(inputs + n), Some(n)])?;
    let (r, u) = (floats(ctx, 6, "r", &state)?, floats(ctx, 7, "u", &state)?);
    let (c, d_h) = (floats(ctx, 8, "c", &state)?, floats(ctx, 9, "d_h", &state)?);
    let back = |d: &[f32], w: &[f32], columns: usize| {
        let mut out = vec![0.0; rows * (inputs + n)];
        let (d, w) = (Matrix::new(d, rows, columns), Matrix::new(w, inputs + n, columns).transposed());
        gemm(d, w, MatrixMut::new(&mut out, rows, inputs + n), Onto::Nothing);
        out
    };
    let d_c: Vec<f32> = (0..rows * n).map(|at| d_h[at] * (1.0 - u[at]) * (1.0 - c[at] * c[at])).collect();
    let by_c = back(&d_c, &w_c, n);
    let d_hr = |at: usize| by_c[at / n * (inputs + n) + inputs + at % n];
    let mut d_ru = vec![0.0; rows * 2 * n];
    for at in 0..rows * n {
        let row = at / n * 2 * n + at % n;
        d_ru[row] = d_hr(at) * h_prev[at] * r[at] * (1.0 - r[at]);
        d_ru[row + n] = d_h[at] * (h_prev[at] - c[at]) * u[at] * (1.0 - u[at]);
    }
    let by_ru = back(&d_ru, &w_ru, 2 * n);
    let d_x = (0..rows * inputs).map(|at| at / inputs * (inputs + n) + at % inputs).map(|at| by_ru[at] + by_c[at]).collect();
    let d_h_prev =
        (0..rows * n).map(|at| by_ru[at / n * (inputs + n) + inputs + at % n] + d_hr(at) * r[at] + d_h[at] * u[at]).collect();
    set(ctx, 0, &[rows, inputs], d_x)?;
    set(ctx, 1, &[rows, n], d_h_prev)?;
    set(ctx, 2, &[rows, n], d_c)?;
    set(ctx, 3, &[rows, 2 * n], d_ru)
}
