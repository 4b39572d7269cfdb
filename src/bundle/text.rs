//! The fields of a message in protocol buffers' text format.

use crate::error::{Result, bail};

/// A value of a field that isn't a message.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A quoted string, or several side by side.
    Text(String),
    /// A number or a name.
    Word(String),
}

/// Calls `field` with the name and each value of the outermost fields, in their order; messages within are skipped.
///
/// # Errors
/// `InvalidArgument` with line and column if the text isn't in the format; what `field` gives.
pub(super) fn parse_fields(text: &str, mut field: impl FnMut(&str, Value) -> Result<()>) -> Result<()> {
    let mut parser = Parser { text, position: 0 };
    parser.skip_space();
    while parser.position < text.len() {
        let name = parser.name()?;
        let colon = parser.take(':');
        match parser.peek() {
            Some('{' | '<') => parser.skip_message()?,
            _ if !colon => return parser.fail("expected ':'"),
            Some('[') => {
                parser.take('[');
                while !parser.take(']') {
                    if matches!(parser.peek(), Some('{' | '<')) {
                        parser.skip_message()?;
                    } else {
                        field(&name, parser.value()?)?;
                    }
                    if !parser.take(',') && parser.peek() != Some(']') {
                        return parser.fail("expected ',' or ']'");
                    }
                }
            }
            _ => field(&name, parser.value()?)?,
        }
        if !parser.take(',') {
            parser.take(';');
        }
    }
    Ok(())
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn fail<T>(&self, what: &str) -> Result<T> {
        let before = &self.text[..self.position];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |s| s.chars().count()) + 1;
        let got = self.rest().chars().take(10).collect::<String>();
        bail!(InvalidArgument, "{line}:{column} : {what}, got {got:?}")
    }

    /// White space and comments.
    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
            let comment = if trimmed.starts_with('#') { trimmed.find('\n').unwrap_or(trimmed.len()) } else { 0 };
            let skipped = rest.len() - trimmed.len() + comment;
            if skipped == 0 {
                return;
            }
            self.position += skipped;
        }
    }

    fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.position += c.len_utf8();
            self.skip_space();
        }
        found
    }

    fn word(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.+-/".contains(c))).unwrap_or(rest.len());
        let word = rest[..end].to_string();
        self.position += end;
        self.skip_space();
        (!word.is_empty()).then_some(word)
    }

    /// A field's name, or an extension's in brackets.
    fn name(&mut self) -> Result<String> {
        let bracket = self.take('[');
        let Some(name) = self.word() else { return self.fail("expected a field's name") };
        if bracket && !self.take(']') {
            return self.fail("expected ']'");
        }
        Ok(name)
    }

    fn value(&mut self) -> Result<Value> {
        if !matches!(self.peek(), Some('"' | '\'')) {
            // A sign may stand apart from its number.
            let minus = self.take('-');
            return match self.word() {
                Some(word) => Ok(Value::Word(if minus { format!("-{word}") } else { word })),
                None => self.fail("expected a value"),
            };
        }
        let mut bytes = Vec::new();
        let start = self.position;
        while let Some(quote @ ('"' | '\'')) = self.peek() {
            self.position += 1;
            self.quoted(quote, &mut bytes)?;
            self.skip_space();
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text)),
            Err(_) => {
                self.position = start;
                self.fail("expected a string of UTF-8")
            }
        }
    }

    /// The rest of a string whose opening quote is taken, and its closing quote.
    fn quoted(&mut self, quote: char, out: &mut Vec<u8>) -> Result<()> {
        loop {
            match self.peek() {
                None | Some('\n') => return self.fail("expected the string's closing quote"),
                Some('\\') => {
                    self.position += 1;
                    self.escape(out)?;
                }
                Some(c) => {
                    self.position += c.len_utf8();
                    if c == quote {
                        return Ok(());
                    }
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let Some(c) = self.peek() else { return self.fail("expected an escape") };
        let simple = match c {
            'a' => 7,
            'b' => 8,
            't' => 9,
            'n' => 10,
            'v' => 11,
            'f' => 12,
            'r' => 13,
            '\\' | '\'' | '"' | '?' => c as u8,
            '0'..='7' => return self.number(8, 3, out),
            'x' | 'X' | 'u' | 'U' => {
                self.position += 1;
                return match c {
                    'u' => self.unicode(4, out),
                    'U' => self.unicode(8, out),
                    _ => self.number(16, 2, out),
                };
            }
            _ => return self.fail("expected an escape"),
        };
        self.position += 1;
        out.push(simple);
        Ok(())
    }

    fn digits(&mut self, radix: u32, most: usize) -> Option<u32> {
        let count = self.rest().chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let value = u32::from_str_radix(&self.rest()[..count], radix).ok()?;
        self.position += count;
        Some(value)
    }

    fn number(&mut self, radix: u32, most: usize, out: &mut Vec<u8>) -> Result<()> {
        match self.digits(radix, most).and_then(|v| u8::try_from(v).ok()) {
            Some(byte) => out.push(byte),
            None => return self.fail("expected the number of a byte"),
        }
        Ok(())
    }

    fn unicode(&mut self, digits: usize, out: &mut Vec<u8>) -> Result<()> {
        let start = self.position;
        match self.digits(16, digits).and_then(char::from_u32) {
            Some(c) if self.position == start + digits => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            _ => return self.fail("expected the number of a character"),
        }
        Ok(())
    }

    /// A message in braces or angle brackets.
    fn skip_message(&mut self) -> Result<()> {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Some('{' | '<') => depth += 1,
                Some('}' | '>') => depth = depth.saturating_sub(1),
                Some('"' | '\'') => {
                    self.value()?;
                    continue;
                }
                Some(_) => {}
                None => return self.fail("expected the message's closing bracket"),
            }
            let length = self.peek().map_or(0, char::len_utf8);
            self.position += length;
            self.skip_space();
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

/// A string in quotes, escaped as TensorFlow's text files have it: all but printable ASCII in octal.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for &byte in text.as_bytes() {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b'"' | b'\'' | b'\\' => {
                out.push('\\');
                out.push(byte as char);
            }
            0x20..0x7f => out.push(byte as char),
            other => out.push_str(&format!("\\{other:03o}")),
        }
    }
    out.push('"');
    out
}

/// A number as TensorFlow's text files have it: the shortest digits that mean it, with a point or an exponent, the
/// latter from 1e16 on and below 1e-4.
pub(super) fn format_double(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "nan".into() } else { format!("{value}") };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) || value == 0.0 {
        return format!("{value:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
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

    fn fields(text: &str) -> Result<Vec<(String, Value)>> {
        let mut fields = Vec::new();
        parse_fields(text, |name, value| {
            fields.push((name.into(), value));
            Ok(())
        })?;
        Ok(fields)
    }

    #[test]
    fn fields_parse() {
        let text = |s: &str| Value::Text(s.into());
        let word = |s: &str| Value::Word(s.into());
        let table = [
            ("", vec![]),
            (" # only a comment", vec![]),
            ("a: \"x\" # y: 1\nb: 3", vec![("a", text("x")), ("b", word("3"))]),
            ("a: \"x\" 'y'\n \"z\"; b:-1.5e-3,", vec![("a", text("xyz")), ("b", word("-1.5e-3"))]),
            ("a: [1, 2] a: []", vec![("a", word("1")), ("a", word("2"))]),
            ("m { a: \"}\" n < b: 1 > } c: X", vec![("c", word("X"))]),
            ("m: { a: 1 } [e.x/y]: - 2", vec![("e.x/y", word("-2"))]),
            ("m: [{ a: 1 }, < >] c: 1", vec![("c", word("1"))]),
            (r#"a: "\x41\101\n\t\r\a\b\f\v\\\'\"\?""#, vec![("a", text("AA\n\t\r\x07\x08\x0c\x0b\\'\"?"))]),
            (r#"a: "\303\251\u00e9\U0001F600\xc3\xa9""#, vec![("a", text("éé😀é"))]),
            ("a: \"é\"", vec![("a", text("é"))]),
        ];
        for (input, expected) in table {
            let expected: Vec<_> = expected.into_iter().map(|(n, v)| (n.to_string(), v)).collect();
            assert_eq!(fields(input).unwrap(), expected, "{input}");
        }
        let bad = [
            "a",
            "a 1",
            "a: ",
            "a: \"x",
            "a: \"x\ny\"",
            "a: \"\\q\"",
            "a: \"\\xff\"",
            "a: \"\\400\"",
            "a: \"\\u12\"",
            ":",
            "a: [1",
            "a: [1 2]",
            "m {",
            "m { a: \"}",
            "[a: 1",
            "a: \"\\",
            "a: \"\\x",
            "é: 1",
            "a: \"\\ud800\"",
        ];
        for input in bad {
            assert!(fields(input).is_err(), "{input}");
        }
        let error = fields("a: 1\nb: \"x\n").unwrap_err();
        assert_eq!(error.message(), "2:6 : expected the string's closing quote, got \"\\n\"");
    }

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
        assert_eq!(quote("a\"b'\n\t\r\\é\x01\x7f"), r#""a\"b\'\n\t\r\\\303\251\001\177""#);
    }
}
