//! What Python converts to tensors on the way into an op: numbers, lists, and lists that hold tensors.

use crate::error::{Error, Result, bail};
use crate::graph::attr::{self, Attrs, IntoAttr};
use crate::graph::op::{ArgSpec, ArgType, Signature};
use crate::graph::{Graph, Operation, Output};
use crate::tensor::{DType, Element, Tensor, dispatch};
use num_complex::Complex;

/// An argument of a builder method: a tensor of the graph, a value that becomes a constant, or a list that may hold both,
/// as Python's `[batch, -1]` does.
#[derive(Clone, Debug)]
pub enum Arg {
    /// A tensor of the graph.
    Output(Output),
    /// A value.
    Value(Tensor),
    /// A list; an empty one has no type of its own.
    List(Vec<Arg>),
}

impl Arg {
    /// The tensor of the graph, if it is one.
    pub fn output(&self) -> Option<Output> {
        if let Arg::Output(output) = self { Some(*output) } else { None }
    }

    /// The first tensor of the graph within.
    fn first_output(&self) -> Option<Output> {
        match self {
            Arg::Output(output) => Some(*output),
            Arg::Value(_) => None,
            Arg::List(items) => items.iter().find_map(Arg::first_output),
        }
    }

    /// The value, where no tensor of the graph is within.
    ///
    /// # Errors
    /// `InvalidArgument` for rows of different lengths or types.
    pub fn value(&self) -> Result<Option<Tensor>> {
        match self {
            Arg::Output(_) => Ok(None),
            Arg::Value(value) => Ok(Some(value.clone())),
            Arg::List(items) if items.is_empty() => Ok(Some(Tensor::zeros(DType::Float, &[0])?)),
            Arg::List(items) => {
                let rows: Option<Vec<Tensor>> = items.iter().map(Arg::value).collect::<Result<_>>()?;
                rows.map(|rows| stack_values(&rows)).transpose()
            }
        }
    }
}

impl From<Output> for Arg {
    fn from(output: Output) -> Arg {
        Arg::Output(output)
    }
}

impl From<Tensor> for Arg {
    fn from(value: Tensor) -> Arg {
        Arg::Value(value)
    }
}

impl From<&Tensor> for Arg {
    fn from(value: &Tensor) -> Arg {
        Arg::Value(value.clone())
    }
}

impl<T: Element> From<T> for Arg {
    fn from(value: T) -> Arg {
        Arg::Value(Tensor::scalar(value))
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Arg {
        Arg::Value(Tensor::from(value))
    }
}

impl From<usize> for Arg {
    /// An int32, as Python's integers are, or an int64 where it is larger.
    fn from(value: usize) -> Arg {
        Arg::Value(match i32::try_from(value) {
            Ok(small) => Tensor::scalar(small),
            Err(_) => Tensor::scalar(value as i64),
        })
    }
}

impl<T: Element> From<&[T]> for Arg {
    fn from(values: &[T]) -> Arg {
        if values.is_empty() { Arg::List(Vec::new()) } else { Arg::Value(Tensor::vector(values)) }
    }
}

impl<T: Element> From<Vec<T>> for Arg {
    fn from(values: Vec<T>) -> Arg {
        Arg::from(&values[..])
    }
}

impl<T: Element, const N: usize> From<[T; N]> for Arg {
    fn from(values: [T; N]) -> Arg {
        Arg::from(&values[..])
    }
}

impl<T: Element, const N: usize, const M: usize> From<[[T; M]; N]> for Arg {
    fn from(rows: [[T; M]; N]) -> Arg {
        Arg::List(rows.iter().map(|row| Arg::from(&row[..])).collect())
    }
}

impl From<Vec<Arg>> for Arg {
    fn from(items: Vec<Arg>) -> Arg {
        Arg::List(items)
    }
}

impl<const N: usize> From<[Arg; N]> for Arg {
    fn from(items: [Arg; N]) -> Arg {
        Arg::List(items.into())
    }
}

impl From<&[Output]> for Arg {
    fn from(items: &[Output]) -> Arg {
        Arg::List(items.iter().map(|&o| Arg::Output(o)).collect())
    }
}

impl From<Vec<Output>> for Arg {
    fn from(items: Vec<Output>) -> Arg {
        Arg::from(&items[..])
    }
}

impl<const N: usize> From<[Output; N]> for Arg {
    fn from(items: [Output; N]) -> Arg {
        Arg::from(&items[..])
    }
}

impl From<&[usize]> for Arg {
    fn from(values: &[usize]) -> Arg {
        let narrow: std::result::Result<Vec<i32>, _> = values.iter().map(|&v| i32::try_from(v)).collect();
        match narrow {
            Ok(narrow) => Arg::from(narrow),
            Err(_) => Arg::from(values.iter().map(|&v| v as i64).collect::<Vec<i64>>()),
        }
    }
}

impl From<Vec<usize>> for Arg {
    fn from(values: Vec<usize>) -> Arg {
        Arg::from(&values[..])
    }
}

impl<const N: usize> From<[usize; N]> for Arg {
    fn from(values: [usize; N]) -> Arg {
        Arg::from(&values[..])
    }
}

/// Tensors of one type and shape, one behind the other along a new first dimension.
///
/// # Errors
/// `InvalidArgument` where types or shapes differ.
pub(crate) fn stack_values(rows: &[Tensor]) -> Result<Tensor> {
    let Some(first) = rows.first() else { return Tensor::zeros(DType::Float, &[0]) };
    if let Some(other) = rows.iter().find(|r| r.dims() != first.dims() || r.dtype() != first.dtype()) {
        bail!(
            InvalidArgument,
            "Can't convert a list of values of different shapes or types: {} of shape {:?} and {} of shape {:?}",
            first.dtype(),
            first.dims(),
            other.dtype(),
            other.dims()
        );
    }
    let dims: Vec<usize> = std::iter::once(rows.len()).chain(first.dims().iter().copied()).collect();
    if first.dtype() == DType::String {
        let strings = rows.iter().map(|r| r.strings()).collect::<Result<Vec<_>>>()?.concat();
        return Tensor::from_strings(&dims, strings);
    }
    let mut out = Tensor::zeros(first.dtype(), &dims)?;
    let size = first.byte_size();
    if size > 0 {
        for (to, row) in out.bytes_mut()?.chunks_exact_mut(size).zip(rows) {
            to.copy_from_slice(row.bytes()?);
        }
    }
    Ok(out)
}

/// A constant's value in another type, where Python would convert it: integers to any number, floats to floats and complex
/// numbers, an empty list to anything.
///
/// # Errors
/// `InvalidArgument` for a conversion that would lose something.
pub(crate) fn cast_value(value: &Tensor, dtype: DType) -> Result<Tensor> {
    let from = value.dtype();
    if from == dtype {
        return Ok(value.clone());
    }
    let refuse = || Error::invalid_argument(format!("Expected {dtype}, got a value of type {from}: {value:?}"));
    if value.is_empty() {
        return Tensor::zeros(dtype, value.dims());
    }
    let dims = value.dims();
    if from.is_integer() {
        let ints = value.to_i64s()?;
        if dtype.is_complex() {
            return dispatch!(dtype, complex, T => Tensor::new(dims, ints.iter().map(|&v| Complex::<T>::new(v as T, 0.0)).collect()));
        }
        if dtype.is_floating() {
            return dispatch!(dtype, floats, T => Tensor::new(dims, ints.iter().map(|&v| <T as FromF64>::from_f64(v as f64)).collect()));
        }
        if !matches!(dtype, DType::Bool | DType::String | DType::Resource | DType::Variant) {
            let narrow = dispatch!(dtype.storage(), integers, T => {
                let narrow: Option<Vec<T>> = ints.iter().map(|&v| T::try_from(v).ok()).collect();
                Tensor::new(dims, narrow.ok_or_else(refuse)?)
            })?;
            return Ok(narrow.with_dtype(dtype));
        }
    }
    if from.is_floating() && (dtype.is_floating() || dtype.is_complex()) {
        let floats: Vec<f64> = dispatch!(from, floats, T => value.as_slice::<T>()?.iter().map(|&v| v.into()).collect());
        if dtype.is_complex() {
            return dispatch!(dtype, complex, T => Tensor::new(dims, floats.iter().map(|&v| Complex::<T>::new(v as T, 0.0)).collect()));
        }
        return dispatch!(dtype, floats, T => Tensor::new(dims, floats.iter().map(|&v| <T as FromF64>::from_f64(v)).collect()));
    }
    Err(refuse())
}

trait FromF64 {
    fn from_f64(value: f64) -> Self;
}

impl FromF64 for f32 {
    fn from_f64(value: f64) -> f32 {
        value as f32
    }
}

impl FromF64 for f64 {
    fn from_f64(value: f64) -> f64 {
        value
    }
}

impl FromF64 for half::f16 {
    fn from_f64(value: f64) -> half::f16 {
        half::f16::from_f64(value)
    }
}

impl FromF64 for half::bf16 {
    fn from_f64(value: f64) -> half::bf16 {
        half::bf16::from_f64(value)
    }
}

impl Graph {
    /// The argument as a tensor (`tf.convert_to_tensor`): a value becomes a constant of that name; a list that holds
    /// tensors becomes a `Pack` of that name, whose other elements are constants named by their position.
    ///
    /// # Errors
    /// `InvalidArgument` where the argument can't have the dtype.
    pub fn convert_to_tensor(&self, arg: impl Into<Arg>, dtype: Option<DType>, name: &str) -> Result<Output> {
        self.convert(&arg.into(), dtype, name)
    }

    pub(crate) fn convert(&self, arg: &Arg, dtype: Option<DType>, name: &str) -> Result<Output> {
        if let Arg::Output(output) = arg {
            let got = self.dtype(*output)?;
            if let Some(expected) = dtype.filter(|&d| d != got) {
                bail!(
                    InvalidArgument,
                    "Tensor conversion requested dtype {expected} for Tensor with dtype {got}: {}",
                    self.tensor_name(*output)
                );
            }
            return Ok(*output);
        }
        if let Some(first) = arg.first_output() {
            let dtype = dtype.unwrap_or(self.dtype(first)?);
            let cast = self.cast_outputs(arg, dtype)?;
            return match self.autopack(&cast, dtype, name)? {
                Arg::Output(output) => Ok(output),
                _ => Err(Error::internal("a list that holds a tensor was not packed")),
            };
        }
        let value = arg.value()?.ok_or_else(|| Error::internal("an argument without tensors has no value"))?;
        let value = match dtype {
            Some(dtype) => cast_value(&value, dtype)?,
            None => value,
        };
        self.named(name).constant(value)
    }

    /// Casts the tensors in a list whose dtype is another.
    fn cast_outputs(&self, arg: &Arg, dtype: DType) -> Result<Arg> {
        Ok(match arg {
            Arg::Output(output) if self.dtype(*output)? != dtype => {
                self.plain().op("Cast").input(*output).attr("DstT", dtype).output()?.into()
            }
            Arg::List(items) => Arg::List(items.iter().map(|i| self.cast_outputs(i, dtype)).collect::<Result<_>>()?),
            other => other.clone(),
        })
    }

    fn autopack(&self, arg: &Arg, dtype: DType, name: &str) -> Result<Arg> {
        let Arg::List(items) = arg else { return Ok(arg.clone()) };
        let g = self.plain();
        let scope = g.name_scope(name)?;
        let mut converted = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            converted.push(g.autopack(item, dtype, &i.to_string())?);
        }
        if !converted.iter().any(|c| c.output().is_some()) {
            return Ok(Arg::List(converted));
        }
        let mut elements = Vec::with_capacity(converted.len());
        for (i, item) in converted.iter().enumerate() {
            elements.push(g.convert(item, Some(dtype), &i.to_string())?);
        }
        Ok(g.op("Pack").name(scope.name()).input_list(&elements).attr("axis", 0i64).output()?.into())
    }

    /// Starts a node whose inputs may be values: they become constants in the scope of the node's name, named as the op
    /// names its inputs, with the dtypes that the op's interface asks for.
    pub(crate) fn call(&self, op: &str) -> Call {
        Call { graph: self.clone(), op: op.to_string(), name: None, args: Vec::new(), attrs: Attrs::new() }
    }

    /// Python's `x op y` between a tensor and a tensor or number: a node of type `op` named `name`, with the number as the
    /// constant `name/x` or `name/y` of the tensor's dtype.
    ///
    /// # Errors
    /// `InvalidArgument` where neither is a tensor, or the dtypes differ.
    pub(crate) fn operator(&self, name: &str, op: &str, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
        let (x, y) = (x.into(), y.into());
        let (g, scope) = self.enter(name)?;
        let (x, y) = match (&x, &y) {
            (Arg::Output(x), y) => (*x, g.convert(y, Some(g.dtype(*x)?), "y")?),
            (x, Arg::Output(y)) => (g.convert(x, Some(g.dtype(*y)?), "x")?, *y),
            _ => bail!(InvalidArgument, "the operator {name} needs a tensor on one side"),
        };
        g.op(op).name(scope.name()).input(x).input(y).output()
    }
}

enum CallArg {
    One(Arg),
    Many(Vec<Arg>),
}

/// A node in the making whose inputs may be values; see [`Graph::call`].
pub(crate) struct Call {
    graph: Graph,
    op: String,
    name: Option<String>,
    args: Vec<CallArg>,
    attrs: Attrs,
}

impl Call {
    /// The node's name, if none was given by [`Graph::named`].
    pub fn default_name(mut self, name: &str) -> Call {
        self.name = Some(name.to_string());
        self
    }

    /// The next input.
    pub fn arg(mut self, arg: impl Into<Arg>) -> Call {
        self.args.push(CallArg::One(arg.into()));
        self
    }

    /// The next input, where the op takes a list.
    pub fn list(mut self, items: impl IntoIterator<Item = impl Into<Arg>>) -> Call {
        self.args.push(CallArg::Many(items.into_iter().map(Into::into).collect()));
        self
    }

    /// An attribute.
    pub fn attr(mut self, name: &str, value: impl IntoAttr) -> Call {
        self.attrs.insert(name.to_string(), value.into_attr());
        self
    }

    /// Makes the node and returns its only output.
    ///
    /// # Errors
    /// As [`Call::finish`].
    pub fn output(self) -> Result<Output> {
        let graph = self.graph.plain();
        let op = self.finish()?;
        match graph.num_outputs(op) {
            1 => Ok(op.output(0)),
            n => bail!(InvalidArgument, "operation '{}' has {n} outputs, one was expected", graph.op_name(op)),
        }
    }

    /// Makes the node and returns its outputs.
    ///
    /// # Errors
    /// As [`Call::finish`].
    pub fn outputs(self) -> Result<Vec<Output>> {
        let graph = self.graph.plain();
        let op = self.finish()?;
        Ok(graph.outputs(op))
    }

    /// Makes the node.
    ///
    /// # Errors
    /// As [`OpBuilder::finish`](crate::graph::OpBuilder::finish); `InvalidArgument` where a value can't have the dtype that
    /// the op asks for.
    pub fn finish(mut self) -> Result<Operation> {
        let Some(record) = super::lookup(&self.op) else { bail!(NotFound, "Op type not registered '{}'", self.op) };
        let signature = record.signature();
        let (g, scope) = self.graph.enter(self.name.as_deref().unwrap_or(&self.op))?;
        if self.args.len() != signature.inputs.len() {
            bail!(InvalidArgument, "Op {} takes {} inputs, got {}", self.op, signature.inputs.len(), self.args.len());
        }
        let mut builder = g.op(&self.op).name(scope.name());
        for (spec, arg) in signature.inputs.iter().zip(&self.args) {
            builder = match arg {
                CallArg::One(arg) => builder.input(convert_one(&g, signature, &mut self.attrs, spec, arg)?),
                CallArg::Many(items) => builder.input_list(&convert_many(&g, signature, &mut self.attrs, spec, items)?),
            };
        }
        for (name, value) in self.attrs {
            builder = builder.attr(&name, value);
        }
        builder.finish()
    }
}

/// The dtypes that an attribute may have, and its default.
fn type_choice<'a>(signature: &'a Signature, name: &str) -> (Option<DType>, &'a [DType]) {
    match signature.attr(name) {
        Some(spec) => (spec.default.as_ref().and_then(|d| attr::dtype(d).ok()), &spec.allowed_types),
        None => (None, &[]),
    }
}

fn convert_one(g: &Graph, signature: &Signature, attrs: &mut Attrs, spec: &ArgSpec, arg: &Arg) -> Result<Output> {
    let name = match &spec.dtype {
        ArgType::Fixed(dtype) => return g.convert(arg, Some(*dtype), &spec.name),
        ArgType::Attr(name) => name,
        ArgType::List(_) => bail!(InvalidArgument, "input '{}' takes a list", spec.name),
    };
    if let Some(known) = attrs.get(name) {
        return g.convert(arg, Some(attr::dtype(known)?), &spec.name);
    }
    let (default, allowed) = type_choice(signature, name);
    let output = match default {
        Some(default) => {
            let inferred = g.convert(arg, None, &spec.name)?;
            if allowed.is_empty() || allowed.contains(&g.dtype(inferred)?) {
                inferred
            } else {
                g.convert(arg, Some(default), &spec.name)?
            }
        }
        None => g.convert(arg, None, &spec.name)?,
    };
    attrs.insert(name.clone(), g.dtype(output)?.into_attr());
    Ok(output)
}

fn convert_many(g: &Graph, signature: &Signature, attrs: &mut Attrs, spec: &ArgSpec, items: &[Arg]) -> Result<Vec<Output>> {
    let mut preferred = None;
    let dtype = match &spec.dtype {
        ArgType::Fixed(dtype) => Some(*dtype),
        ArgType::List(_) => None,
        ArgType::Attr(name) => match attrs.get(name) {
            Some(known) => Some(attr::dtype(known)?),
            None => {
                preferred = type_choice(signature, name).0;
                items.iter().find_map(Arg::output).map(|o| g.dtype(o)).transpose()?
            }
        },
    };
    let mut outputs = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let name = format!("{}_{i}", spec.name);
        let fits = |p: &DType| item.value().ok().flatten().is_some_and(|v| cast_value(&v, *p).is_ok());
        outputs.push(g.convert(item, dtype.or(preferred.filter(fits)), &name)?);
    }
    Ok(outputs)
}
