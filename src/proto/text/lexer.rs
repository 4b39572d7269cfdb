//! The tokens of protocol buffers' text format.

use crate::error::{Result, bail};

/// Reads the text from one token to the next; comments and white space are skipped.
#[derive(Clone)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub fn new(text: &'a str) -> Lexer<'a> {
        let mut lexer = Lexer { text, position: 0 };
        lexer.skip_space();
        lexer
    }

    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    pub fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub fn fail<T>(&self, what: &str) -> Result<T> {
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

    pub fn take(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.position += c.len_utf8();
            self.skip_space();
        }
        found
    }

    pub fn word(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_.+-/".contains(c))).unwrap_or(rest.len());
        let word = rest[..end].to_string();
        self.position += end;
        self.skip_space();
        (!word.is_empty()).then_some(word)
    }

    /// A field's name; of the type of an `Any` in brackets, its URL.
    pub fn name(&mut self) -> Result<String> {
        let bracket = self.take('[');
        let Some(name) = self.word() else { return self.fail("expected a field's name") };
        if bracket && !self.take(']') {
            return self.fail("expected ']'");
        }
        Ok(name)
    }

    /// A number or a name. A sign may stand apart from its number.
    pub fn scalar(&mut self) -> Result<String> {
        let minus = self.take('-');
        match self.word() {
            Some(word) => Ok(if minus { format!("-{word}") } else { word }),
            None => self.fail("expected a value"),
        }
    }

    /// A quoted string, or several side by side.
    pub fn string(&mut self) -> Result<Vec<u8>> {
        if !matches!(self.peek(), Some('"' | '\'')) {
            return self.fail("expected a string");
        }
        let mut bytes = Vec::new();
        while let Some(quote @ ('"' | '\'')) = self.peek() {
            self.position += 1;
            self.quoted(quote, &mut bytes)?;
            self.skip_space();
        }
        Ok(bytes)
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

    /// Passes over a message in braces or angle brackets.
    pub fn skip_message(&mut self) -> Result<()> {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Some('{' | '<') => depth += 1,
                Some('}' | '>') => depth = depth.saturating_sub(1),
                Some('"' | '\'') => {
                    self.string()?;
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
