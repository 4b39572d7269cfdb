//! Numbers and strings of the text format.

/// A string in quotes, escaped as TensorFlow's text files have it: all but printable ASCII in octal, unless the letters
/// beyond ASCII stay as they are.
pub(crate) fn quote(text: &[u8], keep_utf8: bool) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            b'"' | b'\'' | b'\\' => out.extend([b'\\', byte]),
            0x20..=0x7e => out.push(byte),
            0x80.. if keep_utf8 => out.push(byte),
            other => out.extend(format!("\\{other:03o}").as_bytes()),
        }
    }
    out.push(b'"');
    String::from_utf8_lossy(&out).into_owned()
}

/// A number as TensorFlow's text files have it: the shortest digits that mean it, with a point or an exponent, the
/// latter from 1e16 on and below 1e-4.
pub(crate) fn format_double(value: f64) -> String {
    format_shortest(value, &format!("{value:e}"))
}

/// The same of a single-precision number.
pub(super) fn format_float(value: f32) -> String {
    format_shortest(f64::from(value), &format!("{value:e}"))
}

/// Python's text of a number whose shortest digits are given as Rust writes them.
fn format_shortest(value: f64, scientific: &str) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "nan".into() } else { format!("{value}") };
    }
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) || value == 0.0 {
        let text = positional(digits, exponent);
        return if text.contains('.') { text } else { text + ".0" };
    }
    with_exponent(digits, exponent)
}

/// `-1.5`, 3 to `-1500`.
fn positional(digits: &str, exponent: i32) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let mut all: String = digits.chars().filter(|c| *c != '.').collect();
    let point = exponent + 1;
    if point <= 0 {
        return format!("{sign}0.{}{all}", "0".repeat(point.unsigned_abs() as usize));
    }
    let point = point as usize;
    if all.len() < point {
        all += &"0".repeat(point - all.len());
    }
    if all.len() > point {
        all.insert(point, '.');
    }
    format!("{sign}{all}")
}

fn with_exponent(digits: &str, exponent: i32) -> String {
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
}

/// A number with as many digits as C's `%.6g` gives, or with all if those mean another number.
pub(super) fn format_general(value: f64, short: usize, long: usize, means: impl Fn(&str) -> bool) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "nan".into() } else { format!("{value}") };
    }
    let text = general(value, short);
    if means(&text) { text } else { general(value, long) }
}

/// C's `%.<precision>g`.
fn general(value: f64, precision: usize) -> String {
    let scientific = format!("{value:.*e}", precision - 1);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    if exponent < -4 || exponent >= precision as i32 { with_exponent(digits, exponent) } else { positional(digits, exponent) }
}

/// A number of the text format.
pub(super) fn parse_double(word: &str) -> Option<f64> {
    let lower = word.to_ascii_lowercase();
    match lower.trim_start_matches('-') {
        "inf" | "infinity" | "inff" | "infinityf" => return Some(f64::INFINITY.copysign(sign(&lower))),
        "nan" | "nanf" => return Some(f64::NAN),
        _ => {}
    }
    let number = lower.strip_suffix('f').unwrap_or(&lower);
    if number.bytes().all(|b| b.is_ascii_digit() || b".+-e".contains(&b)) { number.parse().ok() } else { None }
}

fn sign(word: &str) -> f64 {
    if word.starts_with('-') { -1.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_strings_are_written_as_python_does() {
        let table = [
            (1.5, "1.5"),
            (3.0, "3.0"),
            (-0.0, "-0.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1e22, "1e+22"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1e-7, "1e-07"),
            (1e-300, "1e-300"),
            (1690000000.123456, "1690000000.123456"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, expected) in table {
            assert_eq!(format_double(value), expected);
            assert_eq!(parse_double(expected), Some(value));
        }
        assert_eq!(format_double(f64::NAN), "nan");
        assert!(parse_double("-nan").is_some_and(f64::is_nan));
        let words = [
            ("2f", Some(2.0)),
            ("1.", Some(1.0)),
            ("0x10", None),
            ("x", None),
            ("", None),
            ("-infinity", Some(f64::NEG_INFINITY)),
        ];
        for (word, expected) in words {
            assert_eq!(parse_double(word), expected, "{word}");
        }
        assert_eq!(quote("a\"b'\n\t\r\\é\x01\x7f".as_bytes(), false), r#""a\"b\'\n\t\r\\\303\251\001\177""#);
        assert_eq!(quote("é\x01".as_bytes(), true), r#""é\001""#);
    }

    #[test]
    fn singles_are_written_as_python_and_c_do() {
        let table: [(f32, &str, &str); 7] = [
            (1.0, "1.0", "1"),
            (0.1, "0.1", "0.1"),
            (1e20, "1e+20", "1e+20"),
            (3.333_333_3, "3.3333333", "3.33333325"),
            (-0.0, "-0.0", "-0"),
            (16777216.0, "16777216.0", "16777216"),
            (123456.7, "123456.7", "123456.703"),
        ];
        for (value, python, c) in table {
            assert_eq!(format_float(value), python);
            assert_eq!(format_general(f64::from(value), 6, 9, |t| t.parse::<f32>().ok() == Some(value)), c);
        }
    }
}
