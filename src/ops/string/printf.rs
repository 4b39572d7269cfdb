//! Numbers as C's printf writes them.

/// `%f`.
pub(crate) fn fixed(value: f64, precision: usize) -> String {
    if value.is_finite() { format!("{value:.precision$}") } else { not_finite(value) }
}

/// `%e`: an exponent of at least two digits, with its sign.
pub(crate) fn scientific(value: f64, precision: usize) -> String {
    if !value.is_finite() {
        return not_finite(value);
    }
    let text = format!("{value:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// `%g`: the shorter of the two, without zeros at the end.
pub(crate) fn general(value: f64, precision: usize) -> String {
    if !value.is_finite() {
        return not_finite(value);
    }
    let precision = precision.max(1);
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".to_string() } else { "0".to_string() };
    }
    let text = format!("{value:.*e}", precision - 1);
    let exponent: i32 = text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let trim = |text: String| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
    };
    if exponent < -4 || exponent >= precision as i32 {
        let text = scientific(value, precision - 1);
        let (mantissa, rest) = text.split_once('e').unwrap_or((&text, "+00"));
        format!("{}e{rest}", trim(mantissa.to_string()))
    } else {
        trim(fixed(value, (precision as i32 - 1 - exponent).max(0) as usize))
    }
}

fn not_finite(value: f64) -> String {
    match (value.is_nan(), value < 0.0) {
        (true, _) => if value.is_sign_negative() { "-nan" } else { "nan" }.to_string(),
        (_, true) => "-inf".to_string(),
        _ => "inf".to_string(),
    }
}

/// The shortest of two lengths that gives the float back, as TensorFlow prints a float32.
pub(crate) fn short_f32(value: f32) -> String {
    let text = general(f64::from(value), 6);
    if text.parse::<f32>() == Ok(value) || !value.is_finite() { text } else { general(f64::from(value), 9) }
}

/// The same for a float64.
pub(crate) fn short_f64(value: f64) -> String {
    let text = general(value, 15);
    if text.parse::<f64>() == Ok(value) || !value.is_finite() { text } else { general(value, 17) }
}

/// Pads to a width as a printf field with the given fill flag: none or a space at the left, `0` zeros after the sign,
/// `-` spaces at the right, `+` a sign.
pub(crate) fn pad(mut text: String, width: i64, fill: &str) -> String {
    if fill == "+" && !text.starts_with('-') {
        text.insert(0, '+');
    } else if fill == " " && !text.starts_with('-') {
        text.insert(0, ' ');
    }
    let missing = usize::try_from(width).unwrap_or(0).saturating_sub(text.chars().count()).min(1 << 20);
    match fill {
        "-" => text + &" ".repeat(missing),
        "0" => {
            let at = usize::from(text.starts_with(['-', '+']));
            text.insert_str(at, &"0".repeat(missing));
            text
        }
        _ => " ".repeat(missing) + &text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_printf_writes_them() {
        assert_eq!(fixed(42.0, 6), "42.000000");
        assert_eq!(scientific(42.0, 6), "4.200000e+01");
        assert_eq!(scientific(1e-300, 2), "1.00e-300");
        for (value, text) in
            [(42.0, "42"), (0.0001, "0.0001"), (0.00001, "1e-05"), (123456.0, "123456"), (1234567.0, "1.23457e+06")]
        {
            assert_eq!(general(value, 6), text);
        }
        assert_eq!(short_f32(0.1), "0.1");
        assert_eq!(short_f32(2.1415927), "2.14159274");
        assert_eq!(pad("-5".into(), 5, "0"), "-0005");
    }
}
