//! The text form of tensors, for tests, errors and people: `f32[[1 2] [3 4]]`, `i32 7`, `str["a" "b"]`.
//!
//! An empty tensor, whose brackets don't tell its shape, is written with its dimensions: `f32{0,3}[]`.

use super::{DType, Dims, Element, Tensor, dispatch, element_count};
use crate::error::{Error, Result, bail};
use bytes::Bytes;
use num_complex::Complex;
use std::fmt;
use std::str::FromStr;

/// Longer tensors are cut in `Debug`.
const DEBUG_ELEMENTS: usize = 32;

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tensor(self, f, usize::MAX)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len() > DEBUG_ELEMENTS {
            write!(f, "{}{:?} ", self.dtype.short_name(), self.dims)?;
        }
        write_tensor(self, f, DEBUG_ELEMENTS)
    }
}

impl PartialEq for Tensor {
    /// Same type, dimensions and elements; plain elements are compared bit by bit.
    fn eq(&self, other: &Tensor) -> bool {
        if self.dtype != other.dtype || self.dims != other.dims {
            return false;
        }
        match self.dtype {
            DType::String => self.strings().ok() == other.strings().ok(),
            DType::Resource | DType::Variant => false,
            _ => super::message::same_bytes(self, other).unwrap_or(false),
        }
    }
}

fn write_tensor(tensor: &Tensor, f: &mut fmt::Formatter<'_>, limit: usize) -> fmt::Result {
    f.write_str(tensor.dtype.short_name())?;
    if tensor.is_empty() {
        let dims: Vec<String> = tensor.dims.iter().map(ToString::to_string).collect();
        return write!(f, "{{{}}}[]", dims.join(","));
    }
    if tensor.rank() == 0 {
        f.write_str(" ")?;
    }
    let mut left = limit;
    write_level(tensor, f, 0, 0, &mut left)
}

fn write_level(tensor: &Tensor, f: &mut fmt::Formatter<'_>, axis: usize, start: usize, left: &mut usize) -> fmt::Result {
    if axis == tensor.rank() {
        *left = left.saturating_sub(1);
        return write_element(tensor, f, start);
    }
    let step: usize = tensor.dims[axis + 1..].iter().product();
    f.write_str("[")?;
    for i in 0..tensor.dims[axis] {
        if i > 0 {
            f.write_str(" ")?;
        }
        if *left == 0 {
            f.write_str("...")?;
            break;
        }
        write_level(tensor, f, axis + 1, start + i * step, left)?;
    }
    f.write_str("]")
}

fn write_element(tensor: &Tensor, f: &mut fmt::Formatter<'_>, index: usize) -> fmt::Result {
    if let Ok(strings) = tensor.strings() {
        return write!(f, "\"{}\"", strings[index].escape_ascii());
    }
    if let Ok(handles) = tensor.handles() {
        return write!(f, "{:?}", handles[index]);
    }
    let text = || -> Result<String> {
        Ok(match tensor.dtype {
            DType::Complex64 => complex(tensor.as_slice::<Complex<f32>>()?[index]),
            DType::Complex128 => complex(tensor.as_slice::<Complex<f64>>()?[index]),
            DType::Bool => tensor.as_slice::<bool>()?[index].to_string(),
            dtype => dispatch!(dtype.storage(), real, T => format!("{}", tensor.as_slice::<T>()?[index])),
        })
    };
    f.write_str(&text().map_err(|_| fmt::Error)?)
}

fn complex<T: fmt::Display>(value: Complex<T>) -> String {
    format!("{}:{}", value.re, value.im)
}

impl FromStr for Tensor {
    type Err = Error;

    /// Reads the text form. Every number is written as Rust writes it; a complex one is `re:im`.
    fn from_str(text: &str) -> Result<Tensor> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let Some(dtype) = DType::from_name(&text[..end]) else {
            bail!(InvalidArgument, "a tensor starts with its dtype (f32, i64, bool, str), got {text:?}");
        };
        let mut rest = text[end..].trim_start();
        let mut stated = None;
        if let Some(inner) = rest.strip_prefix('{') {
            let Some((dims, after)) = inner.split_once('}') else { bail!(InvalidArgument, "a {{ isn't closed in {text:?}") };
            let parse = |d: &str| d.trim().parse().map_err(|_| Error::invalid_argument(format!("bad dimension {d:?}")));
            let dims: Result<Dims> = dims.split(',').filter(|d| !d.trim().is_empty()).map(parse).collect();
            stated = Some(dims?);
            rest = after.trim_start();
        }
        let mut parser = Parser { rest, dims: Vec::new(), leaf: None, items: Vec::new() };
        parser.value(0)?;
        if !parser.rest.trim().is_empty() {
            bail!(InvalidArgument, "unexpected {:?} after a tensor", parser.rest);
        }
        let mut dims: Dims = parser.dims.iter().map(|d| d.unwrap_or(0)).collect();
        let mut items = parser.items;
        if let Some(stated) = stated {
            if items.len() == 1 && element_count(&stated)? > 1 {
                items.resize(element_count(&stated)?, items[0].clone());
            }
            dims = stated;
        }
        build(dtype, &dims, &items)
    }
}

struct Parser<'a> {
    rest: &'a str,
    dims: Vec<Option<usize>>,
    /// The depth at which values stand, once one has been seen.
    leaf: Option<usize>,
    items: Vec<Vec<u8>>,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<()> {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        if let Some(rest) = self.rest.strip_prefix('[') {
            self.rest = rest;
            if self.leaf.is_some_and(|leaf| leaf <= depth) {
                bail!(InvalidArgument, "a row stands where a value was expected");
            }
            if self.dims.len() <= depth {
                self.dims.push(None);
            }
            let mut count = 0;
            loop {
                self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
                if let Some(rest) = self.rest.strip_prefix(']') {
                    self.rest = rest;
                    break;
                }
                if self.rest.is_empty() {
                    bail!(InvalidArgument, "a [ isn't closed");
                }
                self.value(depth + 1)?;
                count += 1;
            }
            if *self.dims[depth].get_or_insert(count) != count {
                bail!(InvalidArgument, "rows of different lengths in a tensor");
            }
            return Ok(());
        }
        if *self.leaf.get_or_insert(depth) != depth || self.dims.len() != depth {
            bail!(InvalidArgument, "a value stands where a row was expected");
        }
        if let Some(rest) = self.rest.strip_prefix('"') {
            let mut bytes = Vec::new();
            let mut chars = rest.char_indices();
            loop {
                match chars.next() {
                    None => bail!(InvalidArgument, "a string isn't closed"),
                    Some((i, '"')) => {
                        self.rest = &rest[i + 1..];
                        break;
                    }
                    Some((_, '\\')) => match chars.next().map(|(_, c)| c) {
                        Some('n') => bytes.push(b'\n'),
                        Some('t') => bytes.push(b'\t'),
                        Some('r') => bytes.push(b'\r'),
                        Some('x') => {
                            let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                            let Ok(byte) = u8::from_str_radix(&digits, 16) else {
                                bail!(InvalidArgument, "bad escape \\x{digits}")
                            };
                            bytes.push(byte);
                        }
                        Some(c) => bytes.extend(c.to_string().bytes()),
                        None => bail!(InvalidArgument, "a string isn't closed"),
                    },
                    Some((_, c)) => bytes.extend(c.to_string().bytes()),
                }
            }
            self.items.push(bytes);
            return Ok(());
        }
        let end = self.rest.find(|c: char| c.is_whitespace() || c == ']' || c == ',').unwrap_or(self.rest.len());
        if end == 0 {
            bail!(InvalidArgument, "a value is missing in a tensor");
        }
        self.items.push(self.rest.as_bytes()[..end].to_vec());
        self.rest = &self.rest[end..];
        Ok(())
    }
}

fn build(dtype: DType, dims: &[usize], items: &[Vec<u8>]) -> Result<Tensor> {
    fn parse<T: FromStr>(item: &[u8]) -> Result<T> {
        let text = String::from_utf8_lossy(item);
        text.parse().map_err(|_| Error::invalid_argument(format!("bad value {text:?}")))
    }
    fn parse_complex<T: FromStr + Default>(item: &[u8]) -> Result<Complex<T>> {
        match item.iter().position(|&b| b == b':') {
            Some(at) => Ok(Complex::new(parse(&item[..at])?, parse(&item[at + 1..])?)),
            None => Ok(Complex::new(parse(item)?, T::default())),
        }
    }
    fn collect<T: Element>(dims: &[usize], items: &[Vec<u8>], parse: impl Fn(&[u8]) -> Result<T>) -> Result<Tensor> {
        Tensor::new(dims, items.iter().map(|i| parse(i)).collect::<Result<Vec<T>>>()?)
    }
    match dtype {
        DType::String => Tensor::from_strings(dims, items.iter().map(|i| Bytes::from(i.clone())).collect()),
        DType::Resource | DType::Variant => bail!(InvalidArgument, "a tensor of {dtype} can't be read from text"),
        DType::Bool => collect::<bool>(dims, items, parse),
        DType::Complex64 => collect(dims, items, parse_complex::<f32>),
        DType::Complex128 => collect(dims, items, parse_complex::<f64>),
        other => {
            let tensor = dispatch!(other.storage(), real, T => collect::<T>(dims, items, parse))?;
            Ok(tensor.with_dtype(other))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["f32[[1 2] [3 4]]", "i32 7", "str[\"a\" \"b\\n\"]", "f32{0,3}[]", "bool[true false]", "c64[1:2]", "f64 NaN"]
        {
            assert_eq!(text.parse::<Tensor>().unwrap().to_string(), text);
        }
        assert_eq!("f32{2,2} 0".parse::<Tensor>().unwrap().to_string(), "f32[[0 0] [0 0]]");
        for text in ["", "f32[1 [2]]", "f32[[1] [2 3]]", "f33 1", "i32 x", "str[\"a]"] {
            assert!(text.parse::<Tensor>().is_err(), "{text}");
        }
    }
}
