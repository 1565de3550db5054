//! A JSON value written anew in its one form: no white space, no needless escape, numbers digit for digit as they came,
//! and of fields with the same name the last one, in the place of the first.

use std::ops::Range;

use super::cursor::{Broken, Cursor, Text};

/// Passes the value at `cursor` and appends it to `out`.
pub(super) fn value(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    match cursor.space() {
        b'"' => string(cursor.string()?, out),
        b'{' => object(cursor, out)?,
        b'[' => {
            out.push(b'[');
            let mut more = cursor.open(b']')?;
            while more {
                value(cursor, out)?;
                more = cursor.more(b']')?;
                if more {
                    out.push(b',');
                }
            }
            out.push(b']');
        }
        _ => {
            let span = cursor.skip()?;
            out.extend_from_slice(cursor.text(span));
        }
    }
    Ok(())
}

fn object(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    let start = out.len();
    let mut members: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    out.push(b'{');
    let mut more = cursor.open(b'}')?;
    while more {
        let name = out.len();
        string(cursor.key()?, out);
        let colon = out.len();
        out.push(b':');
        value(cursor, out)?;
        members.push((name..colon, colon..out.len()));
        more = cursor.more(b'}')?;
        if more {
            out.push(b',');
        }
    }
    out.push(b'}');
    if has_twins(members.iter().map(|(name, _)| &out[name.clone()])) {
        let once = without_twins(&members, out);
        out.truncate(start);
        out.extend_from_slice(&once);
    }
    Ok(())
}

/// Whether two of `names` are the same.
pub(super) fn has_twins<N: Ord>(names: impl Iterator<Item = N>) -> bool {
    let mut names: Vec<N> = names.collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

fn without_twins(members: &[(Range<usize>, Range<usize>)], out: &[u8]) -> Vec<u8> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    let name = |member: usize| &out[members[member].0.clone()];
    order.sort_by_key(|&member| (name(member), member));
    let mut kept: Vec<(usize, usize)> =
        order.chunk_by(|&a, &b| name(a) == name(b)).map(|same| (same[0], same[same.len() - 1])).collect();
    kept.sort_unstable();
    let mut object = vec![b'{'];
    for (first, last) in kept {
        if object.len() > 1 {
            object.push(b',');
        }
        object.extend_from_slice(name(first));
        object.extend_from_slice(&out[members[last].1.clone()]);
    }
    object.push(b'}');
    object
}

/// Appends a string with the escapes that it needs.
pub(super) fn string(text: Text<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    if text.escaped {
        for &byte in text.decoded().iter() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\x08' => out.extend_from_slice(b"\\b"),
                b'\x0c' => out.extend_from_slice(b"\\f"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
    } else {
        out.extend_from_slice(text.raw);
    }
    out.push(b'"');
}
