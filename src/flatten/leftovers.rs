//! What of an object finds no column, and how it is written into `extra`.

use super::cursor::{Broken, Cursor, Span};
use super::rewrite;

/// What is left, in the order of the text. Names are said by their place in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left {
    /// A field with its value.
    Field { name: usize, value: Span },
    /// A field that found its column later.
    Settled,
    /// The beginning of an object in which something may be left.
    Object { name: usize },
    /// The beginning of an array with elements that are no rows; each keeps its place.
    Array { name: usize },
    /// Such an element.
    Item { place: u32, value: Span },
    /// The end of an object or an array.
    End,
}

/// Writes what is left as a JSON object; says whether there is anything.
pub(super) fn write(left: &[Left], text: &Cursor<'_>, out: &mut Vec<u8>) -> Result<bool, Broken> {
    let start = out.len();
    members(&mut left.iter(), text, out)?;
    let any = out.len() > start + 2;
    if !any {
        out.truncate(start);
    }
    Ok(any)
}

/// Writes an object with all that is left up to its end.
fn members(left: &mut std::slice::Iter<'_, Left>, text: &Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    out.push(b'{');
    let empty = out.len();
    while let Some(&next) = left.next() {
        let before = out.len();
        if before > empty {
            out.push(b',');
        }
        match next {
            Left::Field { name, value } => {
                write_name(name, text, out)?;
                rewrite::value(&mut text.from(value.start), out)?;
            }
            Left::Object { name } => {
                write_name(name, text, out)?;
                let object = out.len();
                members(left, text, out)?;
                if out.len() == object + 2 {
                    out.truncate(before);
                }
            }
            Left::Array { name } => {
                write_name(name, text, out)?;
                items(left, text, out)?;
            }
            Left::Settled | Left::Item { .. } => out.truncate(before),
            Left::End => {
                out.truncate(before);
                break;
            }
        }
    }
    out.push(b'}');
    Ok(())
}

/// Writes an array with the items up to its end, and nulls before and between them.
fn items(left: &mut std::slice::Iter<'_, Left>, text: &Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    out.push(b'[');
    let mut next = 0;
    while let Some(&Left::Item { place, value }) = left.next() {
        for _ in next..place {
            out.extend_from_slice(b"null,");
        }
        rewrite::value(&mut text.from(value.start), out)?;
        out.push(b',');
        next = place + 1;
    }
    out.pop();
    out.push(b']');
    Ok(())
}

fn write_name(name: usize, text: &Cursor<'_>, out: &mut Vec<u8>) -> Result<(), Broken> {
    rewrite::string(text.from(name).string()?, out);
    out.push(b':');
    Ok(())
}
