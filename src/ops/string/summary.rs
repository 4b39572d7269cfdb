//! Values of tensors as text, as TensorFlow's Print, Assert and string format write them.

use super::printf::{short_f32, short_f64};
use crate::error::Result;
use crate::tensor::{DType, Tensor, dispatch};
use num_complex::Complex;

/// One element as text; strings in quotes where asked.
fn element(tensor: &Tensor, index: usize, quoted: bool) -> Result<String> {
    Ok(match tensor.dtype() {
        DType::String => {
            let text = String::from_utf8_lossy(&tensor.strings()?[index]).into_owned();
            if quoted { format!("\"{text}\"") } else { text }
        }
        DType::Resource | DType::Variant => format!("{:?}", tensor.handles()?[index]),
        DType::Float => short_f32(tensor.as_slice::<f32>()?[index]),
        DType::Double => short_f64(tensor.as_slice::<f64>()?[index]),
        DType::Half => short_f32(tensor.as_slice::<half::f16>()?[index].to_f32()),
        DType::Bfloat16 => short_f32(tensor.as_slice::<half::bf16>()?[index].to_f32()),
        DType::Bool => u8::from(tensor.as_slice::<bool>()?[index]).to_string(),
        DType::Complex64 => {
            let Complex { re, im } = tensor.as_slice::<Complex<f32>>()?[index];
            format!("({},{})", short_f32(re), short_f32(im))
        }
        DType::Complex128 => {
            let Complex { re, im } = tensor.as_slice::<Complex<f64>>()?[index];
            format!("({},{})", short_f64(re), short_f64(im))
        }
        other => dispatch!(other.storage(), integers, T => tensor.as_slice::<T>()?[index].to_string()),
    })
}

/// The first elements, rows in brackets (`Tensor::SummarizeValue`): `1 2 3...`, `[1 2][3 4]...`. A negative limit is none.
pub(crate) fn summarize(tensor: &Tensor, limit: i64) -> Result<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let count = tensor.len().min(limit);
    if tensor.is_empty() {
        return Ok(String::new());
    }
    let mut out = String::new();
    if tensor.rank() <= 1 {
        for index in 0..count {
            if index > 0 {
                out.push(' ');
            }
            out += &element(tensor, index, false)?;
        }
        if tensor.len() > count {
            out += "...";
        }
        return Ok(out);
    }
    let mut index = 0;
    rows(tensor, 0, &mut index, count, &mut out)?;
    if tensor.len() > count {
        out += "...";
    }
    Ok(out)
}

fn rows(tensor: &Tensor, axis: usize, index: &mut usize, count: usize, out: &mut String) -> Result<()> {
    if *index >= count {
        return Ok(());
    }
    let size = tensor.dims()[axis];
    if axis + 1 == tensor.rank() {
        for i in 0..size {
            if *index >= count {
                return Ok(());
            }
            if i > 0 {
                out.push(' ');
            }
            *out += &element(tensor, *index, false)?;
            *index += 1;
        }
        return Ok(());
    }
    for _ in 0..size {
        let open = *index < count;
        if open {
            out.push('[');
        }
        rows(tensor, axis + 1, index, count, out)?;
        if open && (*index < count || *index == tensor.len()) {
            out.push(']');
        }
    }
    Ok(())
}

/// All rows in brackets, of each axis the first and last few (`tf.print`): `[[1 2 ... 9 10]...]`.
pub(crate) fn summarize_edges(tensor: &Tensor, edge: i64) -> Result<String> {
    let edge = usize::try_from(edge).unwrap_or(usize::MAX).min(tensor.len());
    let mut out = String::new();
    if tensor.is_empty() && tensor.dtype() == DType::Bool {
        return Ok(out);
    }
    edges(tensor, 0, 0, edge, &mut out)?;
    Ok(out)
}

fn edges(tensor: &Tensor, axis: usize, start: usize, edge: usize, out: &mut String) -> Result<()> {
    if axis == tensor.rank() {
        *out += &element(tensor, start, true)?;
        return Ok(());
    }
    let size = tensor.dims()[axis];
    let step: usize = tensor.dims()[axis + 1..].iter().product();
    let separator =
        if axis + 1 == tensor.rank() { " ".to_string() } else { "\n".repeat(tensor.rank() - axis - 1) + &" ".repeat(axis + 1) };
    out.push('[');
    let cut = size > 2 * edge;
    for i in 0..size {
        if cut && i >= edge && i < size - edge {
            if i == edge {
                *out += &separator;
                *out += "...";
            }
            continue;
        }
        if i > 0 {
            *out += &separator;
        }
        edges(tensor, axis + 1, start + i * step, edge, out)?;
    }
    out.push(']');
    Ok(())
}
