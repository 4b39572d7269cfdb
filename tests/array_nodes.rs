//! The nodes that array functions and their gradients emit, against `data/array_nodes.txt`, which TensorFlow wrote.

use metagraph::graph::attr;
use metagraph::ops::{Arg, Idx, ImagePatches, MatrixDiag, OneHot, PadMode, StridedSliceMasks};
use metagraph::proto::attr_value::Value;
use metagraph::{DType, GradientOptions, Graph, Output, Result, Shape, Tensor};
use std::collections::BTreeMap;

const F32: DType = DType::Float;
const I32: DType = DType::Int32;
const I64: DType = DType::Int64;

/// The sections that don't agree with TensorFlow's, with the first line that differs.
fn differences(expected: &BTreeMap<String, Vec<String>>, sections: &[(&str, Build, &[&str])]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, build, by) in sections {
        let graph = Graph::new();
        let got = match emit(&graph, build, by) {
            Ok(()) => lines(&graph),
            Err(error) => vec![error.to_string()],
        };
        let want = &expected[*name];
        let at = (0..got.len().max(want.len())).find(|&i| got.get(i) != want.get(i));
        if let Some(at) = at {
            let line = |of: &[String]| of.get(at).cloned().unwrap_or_else(|| "nothing".to_string());
            wrong.push(format!("{name}:\n  got      {}\n  expected {}", line(&got), line(want)));
        }
    }
    wrong
}

type Build = fn(&Graph) -> Result<Vec<Output>>;

fn emit(graph: &Graph, build: &Build, by: &[&str]) -> Result<()> {
    let built = build(graph)?;
    if !by.is_empty() {
        let xs: Vec<Output> = by.iter().map(|n| graph.get_tensor_by_name(&format!("{n}:0"))).collect::<Result<_>>()?;
        graph.gradients(&built, &xs, &GradientOptions::default())?;
    }
    Ok(())
}

fn lines(graph: &Graph) -> Vec<String> {
    graph.get_operations().into_iter().map(|op| line(graph, op)).collect()
}

fn line(graph: &Graph, op: metagraph::Operation) -> String {
    const HIDDEN: &[&str] = &["value", "dtype", "T", "shape", "Tshape", "Index"];
    let node = graph.node_def(op).unwrap();
    let detail = match node.attr.get("value") {
        Some(value) if node.op == "Const" => constant(&attr::tensor(value).unwrap()),
        _ => node.input.join(", "),
    };
    let mut text = format!("{} = {}({detail})", node.name, node.op);
    for (key, value) in &node.attr {
        if HIDDEN.contains(&key.as_str()) || key.starts_with('_') {
            continue;
        }
        let value = match value.value.as_ref().unwrap() {
            Value::I(i) => i.to_string(),
            Value::B(b) => b.to_string(),
            Value::S(s) => String::from_utf8_lossy(s).into_owned(),
            Value::Type(_) => attr::dtype(value).unwrap().to_string(),
            Value::List(list) if !list.i.is_empty() => format!("{:?}", list.i),
            _ => continue,
        };
        text += &format!(" {key}={value}");
    }
    text
}

fn constant(value: &Tensor) -> String {
    let text = value.to_string();
    let (_, items) = text.split_at(value.dtype().short_name().len());
    let items = if value.is_empty() { String::new() } else { items.replace(['[', ']'], "") };
    format!("{}{:?} {}", value.dtype(), value.dims(), items.trim())
}

fn expected() -> BTreeMap<String, Vec<String>> {
    let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in include_str!("data/array_nodes.txt").lines() {
        match line.strip_prefix("## ") {
            Some(name) => current = name.to_string(),
            None => sections.entry(current.clone()).or_default().push(line.to_string()),
        }
    }
    sections
}

fn p(g: &Graph, name: &str, dtype: DType, shape: impl Into<Shape>) -> Result<Output> {
    g.named(name).placeholder(dtype, shape)
}

fn x23(g: &Graph) -> Result<Output> {
    p(g, "x", F32, [2, 3])
}

fn xn3(g: &Graph) -> Result<Output> {
    p(g, "x", F32, [None, Some(3)])
}

fn xu(g: &Graph) -> Result<Output> {
    p(g, "x", F32, Shape::unknown())
}

fn i(g: &Graph) -> Result<Output> {
    p(g, "i", I32, Shape::scalar())
}

fn masks() -> StridedSliceMasks {
    StridedSliceMasks::default()
}

fn all() -> Idx {
    (..).into()
}

const NOTHING: &[&str] = &[];

fn none() -> Arg {
    Arg::List(Vec::new())
}

fn patches() -> ImagePatches {
    ImagePatches { sizes: [2, 2], strides: [1, 1], rates: [1, 1], same: false }
}

fn built(_: Output) -> Result<Vec<Output>> {
    Ok(Vec::new())
}

#[test]
fn functions_emit_tensorflow_s_nodes() {
    let sections: &[(&str, Build, &[&str])] = &[
        (
            "shape static",
            |g| {
                g.shape_tensor(x23(g)?)?;
                built(g.shape_tensor_as(p(g, "y", F32, [2])?, I64)?)
            },
            NOTHING,
        ),
        (
            "shape dynamic",
            |g| {
                g.shape_tensor(xn3(g)?)?;
                built(g.named("s").shape_tensor_as(xu(g)?, I64)?)
            },
            NOTHING,
        ),
        (
            "size rank",
            |g| {
                g.size(x23(g)?)?;
                g.rank(x23(g)?)?;
                g.size(xn3(g)?)?;
                built(g.rank(xu(g)?)?)
            },
            NOTHING,
        ),
        (
            "reshape",
            |g| {
                g.reshape(x23(g)?, [3i32, -1])?;
                g.named("r").reshape(p(g, "y", F32, [1, 1])?, none())?;
                let x = xn3(g)?;
                built(g.reshape(x, g.shape_tensor(xn3(g)?)?)?)
            },
            NOTHING,
        ),
        (
            "reshape mixed",
            |g| {
                let x = xn3(g)?;
                let n = g.index(g.shape_tensor(x)?, &[0.into()])?;
                g.reshape(x, [Arg::from(n), Arg::from(-1i32), Arg::from(1i32)])?;
                built(g.named("r").reshape(x, [Arg::from(2i32), Arg::from(n)])?)
            },
            NOTHING,
        ),
        (
            "expand squeeze",
            |g| {
                g.expand_dims(x23(g)?, -1i32)?;
                g.squeeze(p(g, "y", F32, [1, 2])?, &[])?;
                built(g.squeeze(p(g, "z", F32, [1, 2])?, &[0])?)
            },
            NOTHING,
        ),
        (
            "zeros",
            |g| {
                g.zeros([2i32, 3], F32)?;
                g.zeros(none(), F32)?;
                g.zeros([40i32, 50], F32)?;
                g.ones([2i32], I32)?;
                built(g.ones([1000i32], DType::Bool)?)
            },
            NOTHING,
        ),
        (
            "zeros dynamic",
            |g| {
                let x = xn3(g)?;
                let n = g.index(g.shape_tensor(x)?, &[0.into()])?;
                g.zeros([Arg::from(n), Arg::from(2i32)], F32)?;
                g.zeros(g.shape_tensor(x)?, F32)?;
                g.zeros(n, F32)?;
                built(g.named("o").ones([n], I64)?)
            },
            NOTHING,
        ),
        (
            "zeros like",
            |g| {
                g.zeros_like(x23(g)?)?;
                g.zeros_like(xn3(g)?)?;
                g.zeros_like_with(xn3(g)?, Some(I32), true)?;
                built(g.zeros_like(p(g, "y", F32, [100, 20])?)?)
            },
            NOTHING,
        ),
        (
            "ones like",
            |g| {
                g.ones_like(x23(g)?)?;
                g.ones_like(xn3(g)?)?;
                g.ones_like_with(xn3(g)?, Some(I32), true)?;
                built(g.ones_like(p(g, "y", F32, [100, 20])?)?)
            },
            NOTHING,
        ),
        (
            "zeros like unoptimized",
            |g| {
                g.zeros_like_with(x23(g)?, None, false)?;
                built(g.ones_like_with(x23(g)?, None, false)?)
            },
            NOTHING,
        ),
        (
            "fill",
            |g| {
                g.fill([2i32, 3], 7f32)?;
                built(g.fill(g.shape_tensor(xn3(g)?)?, true)?)
            },
            NOTHING,
        ),
        (
            "concat",
            |g| {
                g.concat(&[x23(g)?.into(), x23(g)?.into()], 1i32)?;
                g.concat(&[x23(g)?.into()], 0i32)?;
                built(g.named("c").concat(&[x23(g)?.into(), [[1f32; 3]].into()], 0i32)?)
            },
            NOTHING,
        ),
        (
            "split",
            |g| {
                g.split(x23(g)?, 3, 1i32)?;
                g.split_v(x23(g)?, [1i32, 2], -1i32, None)?;
                let x = x23(g)?;
                let axis = g.constant(1i32)?;
                g.named("s").split_v(x, [1i32, -1], axis, None)
            },
            NOTHING,
        ),
        (
            "stack",
            |g| {
                g.stack(&[x23(g)?, x23(g)?], 0)?;
                g.stack(&[x23(g)?, x23(g)?], -1)?;
                g.stack_args(&[i(g)?.into(), 3i32.into(), 5i32.into()], 0)?;
                built(g.named("k").stack_args(&[1i32.into(), 2i32.into()], 0)?)
            },
            NOTHING,
        ),
        (
            "unstack",
            |g| {
                g.unstack(x23(g)?)?;
                g.unstack_with(xn3(g)?, None, 1)?;
                g.named("u").unstack_with(xn3(g)?, Some(2), 0)
            },
            NOTHING,
        ),
        (
            "index",
            |g| {
                g.index(x23(g)?, &[0.into()])?;
                g.index(x23(g)?, &[all(), 1.into()])?;
                g.index(x23(g)?, &[Idx::Ellipsis, (1..3).into()])?;
                built(g.index(x23(g)?, &[Idx::NewAxis, Idx::step(None, None, 2i32), Idx::step(None, None, -1i32)])?)
            },
            NOTHING,
        ),
        (
            "index tensor",
            |g| {
                let (x, i, j) = (xn3(g)?, i(g)?, p(g, "j", I64, Shape::scalar())?);
                let one = || Some(1i32.into());
                let range = |start, stop| Idx::Range { start, stop, step: None };
                g.index(x, &[i.into()])?;
                g.index(x, &[range(one(), Some(i.into()))])?;
                g.index(x, &[(i..).into(), 0.into()])?;
                g.index(x, &[j.into()])?;
                built(g.index(x, &[range(Some(j.into()), Some(2i32.into()))])?)
            },
            NOTHING,
        ),
        (
            "slice",
            |g| {
                g.slice(x23(g)?, [0i32, 1], [-1i32, 2])?;
                let x = xn3(g)?;
                g.slice(x, g.shape_tensor(xn3(g)?)?, [1i32, 1])?;
                built(g.strided_slice(x23(g)?, [0i32], [1i32], None, masks())?)
            },
            NOTHING,
        ),
        (
            "transpose",
            |g| {
                g.transpose(x23(g)?, None)?;
                g.transpose(x23(g)?, Some([0i32, 1].into()))?;
                g.transpose(xu(g)?, None)?;
                g.matrix_transpose(x23(g)?, false)?;
                built(g.matrix_transpose(xu(g)?, false)?)
            },
            NOTHING,
        ),
        (
            "tile broadcast",
            |g| {
                g.tile(x23(g)?, [1i32, 2])?;
                built(g.broadcast_to(x23(g)?, [4i32, 2, 3])?)
            },
            NOTHING,
        ),
        (
            "pad",
            |g| {
                g.pad(x23(g)?, [[1i32, 1], [0, 2]])?;
                g.pad_with(x23(g)?, [[1i32, 1], [0, 2]], PadMode::Constant(5i32.into()))?;
                built(g.pad_with(x23(g)?, [[1i32, 1], [0, 2]], PadMode::Reflect)?)
            },
            NOTHING,
        ),
        (
            "gather",
            |g| {
                g.gather(x23(g)?, [1i32, 0])?;
                let x = x23(g)?;
                g.gather_with(x, i(g)?, 1i32, 0)?;
                g.gather_nd(x23(g)?, [[0i32, 1]])?;
                built(g.scatter_nd([[1i32]], [2.5f32], [4i32])?)
            },
            NOTHING,
        ),
        (
            "where unique",
            |g| {
                g.where_true(p(g, "b", DType::Bool, [None])?)?;
                g.unique(p(g, "u", I32, [None])?)?;
                let x = xn3(g)?;
                built(g.boolean_mask(x, p(g, "m", DType::Bool, [None])?, 0)?)
            },
            NOTHING,
        ),
        (
            "boolean mask matrix",
            |g| {
                let x = p(g, "x", F32, [Some(4), None, Some(5)])?;
                built(g.boolean_mask(x, p(g, "m", DType::Bool, [Some(4), None])?, 0)?)
            },
            NOTHING,
        ),
        (
            "one hot",
            |g| {
                g.one_hot(p(g, "y", I32, [None])?, 3i32, OneHot::default())?;
                let (on_value, off_value) = (Some(2f32.into()), Some(1f32.into()));
                g.one_hot(p(g, "z", I32, [None])?, 3i32, OneHot { on_value, off_value, axis: Some(0), dtype: None })?;
                built(g.one_hot([1i32], 3i32, OneHot { dtype: Some(I32), ..OneHot::default() })?)
            },
            NOTHING,
        ),
        (
            "sequence mask",
            |g| {
                g.sequence_mask(p(g, "n", I32, [None])?, Some(5i32.into()), DType::Bool)?;
                built(g.sequence_mask(p(g, "m", I64, [2])?, None, F32)?)
            },
            NOTHING,
        ),
        (
            "reverse",
            |g| {
                g.reverse(x23(g)?, [0i32])?;
                g.reverse_sequence(x23(g)?, [1i32, 2], 1, 0)?;
                built(g.roll(x23(g)?, 1i32, 0i32)?)
            },
            NOTHING,
        ),
        (
            "diag",
            |g| {
                g.matrix_diag(x23(g)?, MatrixDiag::default())?;
                g.matrix_diag_part(x23(g)?, MatrixDiag { k: Some(1i32.into()), ..MatrixDiag::default() })?;
                g.matrix_set_diag(x23(g)?, [1f32, 2.0], MatrixDiag::default())?;
                g.tensor_diag([1f32, 2.0])?;
                built(g.matrix_band_part(x23(g)?, 1i32, -1i32)?)
            },
            NOTHING,
        ),
        ("meshgrid", |g| g.meshgrid(&[p(g, "a", F32, [2])?, p(g, "b", F32, [3])?], false), NOTHING),
        (
            "space",
            |g| {
                g.space_to_batch_nd(p(g, "a", F32, [1, 4, 1])?, [2i32], [[0i32, 0]])?;
                g.batch_to_space_nd(p(g, "b", F32, [2, 2, 1])?, [2i32], [[0i32, 0]])?;
                built(g.space_to_depth(p(g, "c", F32, [1, 2, 2, 1])?, 2)?)
            },
            NOTHING,
        ),
        (
            "top k",
            |g| {
                g.top_k(x23(g)?, 2i32, true)?;
                let x = x23(g)?;
                g.top_k(x, i(g)?, false)?;
                let x = x23(g)?;
                built(g.searchsorted(x, p(g, "v", F32, [2, 1])?, false, I32)?)
            },
            NOTHING,
        ),
        (
            "sort",
            |g| {
                g.sort(x23(g)?, -1, false)?;
                g.argsort(x23(g)?, -1, true)?;
                built(g.sort(x23(g)?, 0, true)?)
            },
            NOTHING,
        ),
        (
            "repeat",
            |g| {
                g.repeat(x23(g)?, 2i32, 1)?;
                built(g.repeat(p(g, "y", F32, [2])?, [1i32, 2], 0)?)
            },
            NOTHING,
        ),
        ("batch gather", |g| built(g.batch_gather(p(g, "p", F32, [2, 3])?, p(g, "q", I32, [2, 1])?)?), NOTHING),
        ("gather nd batch", |g| built(g.batch_gather_nd(p(g, "p", F32, [2, 3, 4])?, p(g, "q", I32, [2, 5, 1])?, 1)?), NOTHING),
        ("required paddings", |g| built(g.required_space_to_batch_paddings([5i32, 7], [2i32, 3], None)?.0), NOTHING),
        (
            "placeholder",
            |g| {
                p(g, "a", F32, [None, Some(2)])?;
                let one = g.constant(1f32)?;
                built(g.named("d").placeholder_with_default(one, Shape::scalar())?)
            },
            NOTHING,
        ),
    ];
    let wrong = differences(&expected(), sections);
    assert!(wrong.is_empty(), "{} of {} sections differ\n{}", wrong.len(), sections.len(), wrong.join("\n"));
}

#[test]
fn gradients_emit_tensorflow_s_nodes() {
    const X: &[&str] = &["x"];
    const XY: &[&str] = &["x", "y"];
    let sections: &[(&str, Build, &[&str])] = &[
        ("grad reshape", |g| Ok(vec![g.expand_dims(g.reshape(xn3(g)?, [-1i32])?, 0i32)?]), X),
        ("grad squeeze identity", |g| Ok(vec![g.identity(g.squeeze(p(g, "x", F32, [2, 1])?, &[])?)?]), X),
        (
            "grad concat static",
            |g| Ok(vec![g.concat(&[p(g, "x", F32, [2, 1])?.into(), p(g, "y", F32, [2, 2])?.into()], 1i32)?]),
            XY,
        ),
        (
            "grad concat dynamic",
            |g| {
                let (x, y) = (p(g, "x", F32, [None, Some(1)])?, p(g, "y", F32, [None, Some(2)])?);
                Ok(vec![g.concat(&[x.into(), y.into()], -1i32)?])
            },
            XY,
        ),
        ("grad split", |g| g.split(xn3(g)?, 3, 1i32), X),
        ("grad split v", |g| g.split_v(xn3(g)?, [1i32, 2], 1i32, None), X),
        ("grad stack", |g| Ok(vec![g.stack(&[p(g, "x", F32, [2])?, p(g, "y", F32, [2])?], 1)?]), XY),
        ("grad unstack", |g| g.unstack(x23(g)?), X),
        ("grad slice", |g| Ok(vec![g.slice(xn3(g)?, [0i32, 1], [1i32, -1])?]), X),
        ("grad index static", |g| Ok(vec![g.index(x23(g)?, &[0.into()])?]), X),
        ("grad index dynamic", |g| Ok(vec![g.index(xn3(g)?, &[(1..).into(), 0.into()])?]), X),
        ("grad transpose", |g| Ok(vec![g.transpose(x23(g)?, None)?]), X),
        ("grad tile", |g| Ok(vec![g.tile(xn3(g)?, [2i32, 1])?]), X),
        ("grad broadcast", |g| Ok(vec![g.broadcast_to(p(g, "x", F32, [1, 3])?, [2i32, 3])?]), X),
        ("grad pad", |g| Ok(vec![g.pad(xn3(g)?, [[1i32, 1], [0, 2]])?]), X),
        ("grad mirror pad", |g| Ok(vec![g.pad_with(xn3(g)?, [[1i32, 1], [0, 2]], PadMode::Symmetric)?]), X),
        ("grad gather", |g| Ok(vec![g.gather(xn3(g)?, [1i32, 0])?]), X),
        ("grad gather axis", |g| Ok(vec![g.gather_with(xn3(g)?, [1i32, 0], 1i32, 0)?]), X),
        (
            "grad gather batch",
            |g| {
                let x = xn3(g)?;
                Ok(vec![g.gather_with(x, p(g, "i", I32, [None, Some(2)])?, 1i32, 1)?])
            },
            X,
        ),
        ("grad gather twice", |g| Ok(vec![g.gather(g.gather(xn3(g)?, [1i32, 0])?, [0i32])?]), X),
        ("grad gather nd", |g| Ok(vec![g.gather_nd(xn3(g)?, [[0i32, 1]])?]), X),
        ("grad scatter nd", |g| Ok(vec![g.scatter_nd([[1i32], [0]], p(g, "x", F32, [2])?, [4i32])?]), X),
        ("grad fill", |g| Ok(vec![g.fill([2i32], p(g, "x", F32, Shape::scalar())?)?]), X),
        (
            "grad diag",
            |g| {
                let x = g.matrix_diag(p(g, "x", F32, [3])?, MatrixDiag::default())?;
                let y = g.matrix_diag_part(p(g, "y", F32, [3, 3])?, MatrixDiag::default())?;
                Ok(vec![g.matrix_set_diag(x, y, MatrixDiag::default())?])
            },
            XY,
        ),
        ("grad reverse", |g| Ok(vec![g.reverse_sequence(g.reverse(x23(g)?, [1i32])?, [1i32, 2], 1, 0)?]), X),
        (
            "grad partition",
            |g| {
                let x = p(g, "x", F32, [None])?;
                g.dynamic_partition(x, p(g, "n", I32, [None])?, 2)
            },
            X,
        ),
        (
            "grad stitch",
            |g| {
                let data = [p(g, "x", F32, [1])?.into(), p(g, "y", F32, [1])?.into()];
                Ok(vec![g.dynamic_stitch(&[[0i32].into(), [1i32].into()], &data)?])
            },
            XY,
        ),
        ("grad top k", |g| Ok(vec![g.top_k(xn3(g)?, 2i32, true)?.0]), X),
        ("grad space", |g| Ok(vec![g.space_to_batch_nd(p(g, "x", F32, [1, 4, 1])?, [2i32], [[0i32, 0]])?]), X),
        ("grad patches", |g| Ok(vec![g.extract_image_patches(p(g, "x", F32, [1, 3, 3, 1])?, patches())?]), X),
    ];
    let wrong = differences(&expected(), sections);
    assert!(wrong.is_empty(), "{} of {} sections differ\n{}", wrong.len(), sections.len(), wrong.join("\n"));
}
