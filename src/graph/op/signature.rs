//! An op's interface in TensorFlow's notation, parsed.

use super::Op;
use crate::error::{Error, Result, bail};
use crate::graph::attr::{self, Attrs};
use crate::proto::{AttrValue, NameAttrList, attr_value::Value};
use crate::tensor::{DType, Shape, Tensor};
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{OnceLock, RwLock};

/// The parsed interface of an op.
#[derive(Debug)]
pub struct Signature {
    /// The inputs.
    pub inputs: Vec<ArgSpec>,
    /// The outputs.
    pub outputs: Vec<ArgSpec>,
    /// The attributes.
    pub attrs: Vec<AttrSpec>,
}

/// An input or output argument, which stands for one tensor or for a list.
#[derive(Debug, Clone)]
pub struct ArgSpec {
    /// The argument's name.
    pub name: String,
    /// Whether it is a reference to a variable.
    pub is_ref: bool,
    /// Where the dtype comes from.
    pub dtype: ArgType,
    /// The attribute that says how many tensors there are, for a list of one type.
    pub number: Option<String>,
}

/// Where the dtype of an argument comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ArgType {
    /// Fixed.
    Fixed(DType),
    /// The value of an attribute of type `type`.
    Attr(String),
    /// The value of an attribute of type `list(type)`: one tensor each.
    List(String),
}

/// An attribute: its name, type, constraint and default.
#[derive(Debug, Clone)]
pub struct AttrSpec {
    /// The attribute's name.
    pub name: String,
    /// `int`, `float`, `bool`, `string`, `type`, `shape`, `tensor`, `func`, or `list(...)` of one of them.
    pub kind: String,
    /// The dtypes that are allowed, if not all.
    pub allowed_types: Vec<DType>,
    /// The strings that are allowed, if not all.
    pub allowed_strings: Vec<String>,
    /// The least integer, or the least length of a list.
    pub minimum: Option<i64>,
    /// The value where a node doesn't give one.
    pub default: Option<AttrValue>,
}

impl AttrSpec {
    /// Parses a value as interfaces write it: `true`, `3`, `'SAME'`, `DT_FLOAT` or `f32`, `shape?`, `shape[2, -1]`,
    /// `[1, 2]`, a tensor in its text form.
    ///
    /// # Errors
    /// `InvalidArgument` for text that is no value of the attribute's type.
    pub fn parse_value(&self, text: &str) -> Result<AttrValue> {
        parse_value(&self.kind, text.trim())
    }
}

/// The signature of a record, parsed once a process.
pub(super) fn of(op: &'static Op) -> &'static Signature {
    let key = std::ptr::from_ref(op) as usize;
    LATELY.with(|lately| {
        let slot = &lately[key / size_of::<Op>() % lately.len()];
        match slot.get() {
            Some((known, signature)) if known == key => signature,
            _ => {
                let signature = parsed(op, key);
                slot.set(Some((key, signature)));
                signature
            }
        }
    })
}

thread_local! {
    /// Signatures that were asked for lately, each where its record's address says.
    static LATELY: [Cell<Option<(usize, &'static Signature)>>; 128] = const { [const { Cell::new(None) }; 128] };
}

fn parsed(op: &'static Op, key: usize) -> &'static Signature {
    static PARSED: OnceLock<RwLock<HashMap<usize, &'static Signature>>> = OnceLock::new();
    let parsed = PARSED.get_or_init(Default::default);
    if let Some(signature) = parsed.read().unwrap_or_else(|e| e.into_inner()).get(&key) {
        return signature;
    }
    let signature = Signature::parse(op.ins, op.outs, op.attrs)
        .unwrap_or_else(|error| panic!("the record of op {} has a bad interface: {error}", op.name));
    let signature: &'static Signature = Box::leak(Box::new(signature));
    parsed.write().unwrap_or_else(|e| e.into_inner()).entry(key).or_insert(signature)
}

impl Signature {
    /// Parses an interface.
    ///
    /// # Errors
    /// `InvalidArgument` that quotes the part that can't be read.
    pub fn parse(ins: &[&str], outs: &[&str], attrs: &[&str]) -> Result<Signature> {
        let attrs = attrs.iter().map(|a| parse_attr(a)).collect::<Result<Vec<_>>>()?;
        let arg = |a: &&str| parse_arg(a, &attrs);
        Ok(Signature {
            inputs: ins.iter().map(arg).collect::<Result<_>>()?,
            outputs: outs.iter().map(arg).collect::<Result<_>>()?,
            attrs,
        })
    }

    /// The attribute of that name.
    pub fn attr(&self, name: &str) -> Option<&AttrSpec> {
        self.attrs.iter().find(|a| a.name == name)
    }

    /// An attribute's value at a node, or the default.
    pub fn value<'a>(&'a self, attrs: &'a Attrs, name: &str) -> Option<&'a AttrValue> {
        attrs.get(name).or_else(|| self.attr(name).and_then(|a| a.default.as_ref()))
    }

    fn required<'a>(&'a self, attrs: &'a Attrs, name: &str) -> Result<&'a AttrValue> {
        self.value(attrs, name).ok_or_else(|| Error::invalid_argument(format!("NodeDef is missing attr '{name}'")))
    }

    /// The dtypes of a node's inputs, lists expanded, and whether each is a reference.
    ///
    /// # Errors
    /// `InvalidArgument` when an attribute that the types depend on is missing or bad.
    pub fn input_types(&self, attrs: &Attrs) -> Result<Vec<(DType, bool)>> {
        self.expand(&self.inputs, attrs)
    }

    /// The dtypes of a node's outputs, lists expanded, and whether each is a reference.
    ///
    /// # Errors
    /// As [`Signature::input_types`].
    pub fn output_types(&self, attrs: &Attrs) -> Result<Vec<(DType, bool)>> {
        self.expand(&self.outputs, attrs)
    }

    fn expand(&self, args: &[ArgSpec], attrs: &Attrs) -> Result<Vec<(DType, bool)>> {
        let mut types = Vec::with_capacity(args.len());
        for arg in args {
            match (&arg.dtype, &arg.number) {
                (ArgType::Fixed(dtype), None) => types.push((*dtype, arg.is_ref)),
                (ArgType::Attr(name), None) => types.push((attr::dtype(self.required(attrs, name)?)?, arg.is_ref)),
                _ => types.extend(self.arg_types(arg, attrs)?.into_iter().map(|t| (t, arg.is_ref))),
            }
        }
        Ok(types)
    }

    /// The dtypes of the tensors that an argument stands for.
    ///
    /// # Errors
    /// As [`Signature::input_types`].
    pub fn arg_types(&self, arg: &ArgSpec, attrs: &Attrs) -> Result<Vec<DType>> {
        let one = match &arg.dtype {
            ArgType::Fixed(dtype) => *dtype,
            ArgType::Attr(name) => attr::dtype(self.required(attrs, name)?)?,
            ArgType::List(name) => return attr::dtypes(self.required(attrs, name)?),
        };
        let count = match &arg.number {
            Some(name) => attr::int(self.required(attrs, name)?)?,
            None => 1,
        };
        if !(0..=1 << 24).contains(&count) {
            bail!(InvalidArgument, "argument '{}' would stand for {count} tensors", arg.name);
        }
        Ok(vec![one; count as usize])
    }
}

fn parse_arg(text: &str, attrs: &[AttrSpec]) -> Result<ArgSpec> {
    let Some((name, rest)) = text.split_once(':') else { bail!(InvalidArgument, "argument {text:?} has no type") };
    let mut rest = rest.trim();
    let mut number = None;
    if let Some((n, t)) = rest.split_once('*') {
        number = Some(n.trim().to_string());
        rest = t.trim();
    }
    let inner = rest.strip_prefix("Ref(").and_then(|r| r.strip_suffix(')'));
    let is_ref = inner.is_some();
    let rest = inner.unwrap_or(rest).trim();
    let dtype = match attrs.iter().find(|a| a.name == rest) {
        Some(attr) if attr.kind == "type" => ArgType::Attr(rest.to_string()),
        Some(attr) if attr.kind == "list(type)" => ArgType::List(rest.to_string()),
        Some(attr) => bail!(InvalidArgument, "argument {text:?}: attribute of type {}", attr.kind),
        None => match DType::from_name(rest) {
            Some(dtype) => ArgType::Fixed(dtype),
            None => bail!(InvalidArgument, "argument {text:?}: no attribute or dtype {rest}"),
        },
    };
    Ok(ArgSpec { name: name.trim().to_string(), is_ref, dtype, number })
}

fn parse_attr(text: &str) -> Result<AttrSpec> {
    let Some((name, rest)) = text.split_once(':') else { bail!(InvalidArgument, "attribute {text:?} has no type") };
    let (constraint, default) = match rest.split_once(" = ") {
        Some((c, d)) => (c.trim(), Some(d.trim())),
        None => (rest.trim(), None),
    };
    let (constraint, minimum) = match constraint.split_once(">=") {
        Some((c, m)) => {
            let Ok(m) = m.trim().parse() else { bail!(InvalidArgument, "attribute {text:?}: bad minimum") };
            (c.trim(), Some(m))
        }
        None => (constraint, None),
    };
    let (is_list, element) = match constraint.strip_prefix("list(").and_then(|c| c.strip_suffix(')')) {
        Some(inner) => (true, inner.trim()),
        None => (false, constraint),
    };
    let (mut allowed_types, mut allowed_strings) = (Vec::new(), Vec::new());
    let mut kind = element.to_string();
    if let Some(set) = element.strip_prefix('{').and_then(|c| c.strip_suffix('}')) {
        for item in set.split(',').map(str::trim) {
            match item.strip_prefix('\'').and_then(|i| i.strip_suffix('\'')) {
                Some(string) => allowed_strings.push(string.to_string()),
                None => match DType::from_name(item) {
                    Some(dtype) => allowed_types.push(dtype),
                    None => bail!(InvalidArgument, "attribute {text:?}: unknown dtype {item}"),
                },
            }
        }
        kind = if allowed_strings.is_empty() { "type" } else { "string" }.to_string();
    }
    if is_list {
        kind = format!("list({kind})");
    }
    if !["int", "float", "bool", "string", "type", "shape", "tensor", "func"]
        .contains(&kind.trim_start_matches("list(").trim_end_matches(')'))
    {
        bail!(InvalidArgument, "attribute {text:?}: unknown type {kind}");
    }
    let default = default.map(|d| parse_value(&kind, d)).transpose()?;
    Ok(AttrSpec { name: name.trim().to_string(), kind, allowed_types, allowed_strings, minimum, default })
}

/// Parses an attribute's value as interfaces write it: `true`, `3`, `'SAME'`, `DT_FLOAT`, `shape?`, `shape[2, -1]`,
/// `[1, 2]`, a tensor in its text form.
pub(crate) fn parse_value(kind: &str, text: &str) -> Result<AttrValue> {
    let bad = || Error::invalid_argument(format!("{text:?} is no value of type {kind}"));
    let unquote = |t: &str| t.trim_matches(|c| c == '\'' || c == '"').to_string();
    let dtype = |t: &str| {
        let name = t.strip_prefix("DT_").map(str::to_lowercase).unwrap_or_else(|| t.to_string());
        DType::from_name(&name).map(DType::number).ok_or_else(bad)
    };
    let shape = |t: &str| -> Result<_> {
        let t = t.strip_prefix("shape").unwrap_or(t).trim();
        if t == "?" || t == "<unknown>" {
            return Ok(Shape::unknown().to_message());
        }
        let inner = t.strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or_else(bad)?;
        let dims = inner.split(',').map(str::trim).filter(|d| !d.is_empty());
        let dims: Vec<i64> = dims.map(|d| if d == "?" { Ok(-1) } else { d.parse().map_err(|_| bad()) }).collect::<Result<_>>()?;
        Ok(Shape::from_signed(dims).to_message())
    };
    let value = match kind {
        "int" => Value::I(text.parse().map_err(|_| bad())?),
        "float" => Value::F(text.parse().map_err(|_| bad())?),
        "bool" => Value::B(text.parse().map_err(|_| bad())?),
        "string" => Value::S(unquote(text).into()),
        "type" => Value::Type(dtype(text)?),
        "shape" => Value::Shape(shape(text)?),
        "tensor" => Value::Tensor(text.parse::<Tensor>()?.to_message()?),
        "func" => Value::Func(NameAttrList { name: unquote(text), ..Default::default() }),
        list => {
            let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).ok_or_else(bad)?;
            let mut l = crate::proto::attr_value::ListValue::default();
            if list == "list(shape)" {
                let parts = inner.split("shape").filter(|p| !p.trim().is_empty());
                l.shape = parts.map(|p| shape(p.trim().trim_end_matches(','))).collect::<Result<_>>()?;
                return Ok(AttrValue { value: Some(Value::List(l)) });
            }
            let items = inner.split(',').map(str::trim).filter(|i| !i.is_empty());
            match list {
                "list(int)" => l.i = items.map(|i| i.parse().map_err(|_| bad())).collect::<Result<_>>()?,
                "list(float)" => l.f = items.map(|i| i.parse().map_err(|_| bad())).collect::<Result<_>>()?,
                "list(bool)" => l.b = items.map(|i| i.parse().map_err(|_| bad())).collect::<Result<_>>()?,
                "list(string)" => l.s = items.map(|i| unquote(i).into()).collect(),
                "list(type)" => l.r#type = items.map(dtype).collect::<Result<_>>()?,
                "list(func)" => l.func = items.map(|i| NameAttrList { name: unquote(i), ..Default::default() }).collect(),
                _ => return Err(bad()),
            }
            Value::List(l)
        }
    };
    Ok(AttrValue { value: Some(value) })
}
