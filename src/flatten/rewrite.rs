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
    let mut members = Vec::new();
    out.push(b'{');
    let mut more = cursor.open(b'}')?;
    while more {
        let name = out.len();
        string(cursor.key()?, out);
        let colon = out.len();
        out.push(b':');
        value(cursor, out)?;
        members.push(Member { name: name..colon, value: colon..out.len() });
        more = cursor.more(b'}')?;
        if more {
            out.push(b',');
        }
    }
    out.push(b'}');
    if has_twins(members.iter().map(|member| &out[member.name.clone()])) {
        let once = object_of(&last_ones(&members, out), &members, out);
        out.truncate(start);
        out.extend_from_slice(&once);
    }
    Ok(())
}

/// Where a field of an object has been written, its value with the colon before it.
pub(super) struct Member {
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Whether two of `names` are the same.
pub(super) fn has_twins<N: Ord>(names: impl Iterator<Item = N>) -> bool {
    let mut names: Vec<N> = names.collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// Of members with the same name the first, which gives the place, and the last, which gives the value.
pub(super) fn last_ones(members: &[Member], out: &[u8]) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    let name = |member: usize| &out[members[member].name.clone()];
    order.sort_by_key(|&member| (name(member), member));
    let mut kept: Vec<(usize, usize)> =
        order.chunk_by(|&a, &b| name(a) == name(b)).map(|same| (same[0], same[same.len() - 1])).collect();
    kept.sort_unstable();
    kept
}

/// An object of the members that [`last_ones`] kept.
pub(super) fn object_of(kept: &[(usize, usize)], members: &[Member], out: &[u8]) -> Vec<u8> {
    let mut object = vec![b'{'];
    for &(first, last) in kept {
        if object.len() > 1 {
            object.push(b',');
        }
        object.extend_from_slice(&out[members[first].name.clone()]);
        object.extend_from_slice(&out[members[last].value.clone()]);
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
