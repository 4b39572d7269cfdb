//! What ops refuse. A line of `errors.txt` reads `Op(attributes; inputs) => Code: message`, with TensorFlow's code and message.

use crate::{Feed, parse_row, run_node};
use metagraph::ops;

/// Spaces between the elements of a list, and the like, don't count.
fn without_spaces(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn errors_have_tensorflows_codes_and_say_as_much() {
    let mut wrong = Vec::new();
    for line in include_str!("errors.txt").lines() {
        let (call, said) = line.split_once(" => ").unwrap();
        let (name, inner) = call.strip_suffix(')').and_then(|call| call.split_once('(')).unwrap();
        let (code, message) = said.split_once(": ").unwrap();
        let op = ops::lookup(name).unwrap();
        let inner = format!("{inner} =>");
        let row = parse_row(op, &inner).unwrap();
        for feed in [Feed::Constants, Feed::Unknown] {
            // What is known when the graph is built is refused then, in the words of the shape function.
            let words = if matches!(feed, Feed::Unknown) { without_spaces(message) } else { String::new() };
            match run_node(op, &row, feed) {
                Ok(ran) => wrong.push(format!("{line} ({feed:?}): gives {:?}", ran.values)),
                Err(e) if format!("{:?}", e.code()) == code && without_spaces(&e.to_string()).contains(&words) => {}
                Err(e) => wrong.push(format!("{line} ({feed:?}): {:?}: {e}", e.code())),
            }
        }
    }
    assert!(wrong.is_empty(), "{} lines:\n{}", wrong.len(), wrong.join("\n"));
}
