//! File patterns, as TensorFlow's `MatchingFiles` takes them.

use std::fs;
use std::path::{MAIN_SEPARATOR, Path};

/// The paths that a pattern matches, sorted; a directory that can't be read matches nothing.
///
/// In each part of the path `*` stands for any characters, `?` for one, `[ab-d]` for one of these, `[!a]` or `[^a]` for
/// one that isn't, and `\` takes the next character as it is. A pattern without any of these is a path, which matches
/// itself if it exists. Matches of a pattern without a directory start with `./`.
pub(crate) fn matching_files(pattern: &str) -> Vec<String> {
    if pattern.is_empty() {
        return Vec::new();
    }
    let separator = |c: char| c == '/' || c == MAIN_SEPARATOR;
    let mut found = vec![String::new()];
    for part in pattern.split_inclusive(separator) {
        let name = part.trim_end_matches(separator);
        let end = &part[name.len()..];
        if name.is_empty() || !name.contains(['*', '?', '[', '\\']) || (MAIN_SEPARATOR == '\\' && name == "\\") {
            found.iter_mut().for_each(|path| path.push_str(part));
            continue;
        }
        let mut next = Vec::new();
        for path in found {
            let path = if path.is_empty() { "./" } else { &path };
            let Ok(entries) = fs::read_dir(path) else { continue };
            let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
            next.extend(names.filter(|n| matches(name, n)).map(|n| format!("{path}{n}{end}")));
        }
        found = next;
    }
    found.retain(|path| Path::new(path).exists());
    found.sort();
    found
}

/// True when a pattern without separators matches all of a name.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last `*` doesn't match.
    let mut retry = None;
    loop {
        if p < pattern.len() && pattern[p] == '*' {
            p += 1;
            retry = Some((p, n));
            continue;
        }
        if p == pattern.len() && n == name.len() {
            return true;
        }
        if n < name.len()
            && let Some(next) = match_one(&pattern, p, name[n])
        {
            (p, n) = (next, n + 1);
            continue;
        }
        match retry {
            Some((back, from)) if from < name.len() => {
                (p, n) = (back, from + 1);
                retry = Some((back, n));
            }
            _ => return false,
        }
    }
}

/// The place behind the pattern's element at `p` if that matches the character.
fn match_one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match *pattern.get(p)? {
        '?' => Some(p + 1),
        '\\' if p + 1 < pattern.len() => (pattern[p + 1] == c).then_some(p + 2),
        '[' => match match_set(pattern, p + 1, c) {
            Some((true, next)) => Some(next),
            Some((false, _)) => None,
            // A bracket that isn't closed stands for itself.
            None => (c == '[').then_some(p + 1),
        },
        literal => (literal == c).then_some(p + 1),
    }
}

/// Whether the set that starts at `p` has the character, and the place behind the set.
fn match_set(pattern: &[char], mut p: usize, c: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(p)?, '!' | '^');
    if negated {
        p += 1;
    }
    let mut found = false;
    let mut first = true;
    loop {
        let mut low = *pattern.get(p)?;
        if low == ']' && !first {
            return Some((found != negated, p + 1));
        }
        if low == '\\' {
            p += 1;
            low = *pattern.get(p)?;
        }
        first = false;
        p += 1;
        let mut high = low;
        if pattern.get(p) == Some(&'-') && pattern.get(p + 1).is_some_and(|&c| c != ']') {
            high = pattern[p + 1];
            p += 2;
        }
        found |= (low..=high).contains(&c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let yes = [
            ("*", "abc"),
            ("a*c", "abbc"),
            ("*a*b", "xxaayyb"),
            ("m-?????-of-00002", "m-00001-of-00002"),
            ("[a-c]x", "bx"),
            ("[!a]x", "bx"),
            ("[]a]", "]"),
            ("a\\*", "a*"),
            ("[", "["),
            ("", ""),
        ];
        let no = [("a*c", "abd"), ("?", ""), ("[^b]x", "bx"), ("a\\*", "ab"), ("a", "ab"), ("[a-c]", "-"), ("*b", "a")];
        for (pattern, name) in yes {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in no {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn paths() {
        let dir = std::env::temp_dir().join(format!("metagraph-glob-{}", std::process::id()));
        for path in ["a/x1", "a/x2", "b/x1"] {
            fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
            fs::write(dir.join(path), "").unwrap();
        }
        let base = dir.to_str().unwrap();
        let table = [
            ("a/x1", &["a/x1"][..]),
            ("a/x3", &[]),
            ("*/x1", &["a/x1", "b/x1"]),
            ("a/*", &["a/x1", "a/x2"]),
            ("?", &["a", "b"]),
            ("*/x3", &[]),
            ("c/*", &[]),
        ];
        for (pattern, expected) in table {
            let expected: Vec<_> = expected.iter().map(|p| format!("{base}/{p}")).collect();
            assert_eq!(matching_files(&format!("{base}/{pattern}")), expected, "{pattern}");
        }
        assert!(matching_files("").is_empty());
        assert_eq!(matching_files("Cargo.toml"), ["Cargo.toml"]);
        assert_eq!(matching_files("Car?o.toml"), ["./Cargo.toml"]);
        fs::remove_dir_all(dir).unwrap();
    }
}
