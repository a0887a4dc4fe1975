//! A profile out of bytes, which another program may have written.

use std::collections::HashMap;

use super::places::Index;
use super::{Frame, Location, Mapping, Profile, Sample};
use crate::protobuf::{Field, Malformed, Reader};

/// Limit of the frames of all locations together, with their names. A name may stand in many frames, so a short text could ask for any
/// memory.
const NAMES_MAX: usize = 64 << 20;
/// Limit of a stack's bytes.
const STACK_MAX: usize = 64 << 10;

pub(super) fn decode(bytes: &[u8]) -> Result<Profile, Malformed> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(Malformed("the profile is compressed"));
    }
    let parts = Parts::read(bytes)?;
    let strings = &parts.strings;
    let kinds = parts.kinds.iter().map(|kind| value_type(kind, strings)).collect::<Result<_, _>>()?;
    let (mut mapping_numbers, mut mappings) = (HashMap::from([(0, 0)]), Vec::new());
    for message in &parts.mappings {
        let (id, mapping) = mapping(message, strings)?;
        mappings.push(mapping);
        mapping_numbers.insert(id, mappings.len() as u32);
    }
    let functions = parts.functions.iter().map(|message| function(message, strings)).collect::<Result<_, _>>()?;
    let mut naming = Naming { functions, left: NAMES_MAX };
    let (mut location_places, mut locations) = (HashMap::new(), Vec::new());
    for message in &parts.locations {
        let (id, location) = location(message, &mapping_numbers, &mut naming)?;
        location_places.insert(id, locations.len() as u32);
        locations.push(location);
    }
    let sample = |message: &&[u8]| sample(message, &location_places, &mut naming.left, strings);
    let samples = parts.samples.iter().map(sample).collect::<Result<_, _>>()?;
    let period = parts.period_kind.map(|kind| value_type(kind, strings)).transpose()?;
    let text = |place: &u64| strings.get(*place).map(str::to_owned);
    Ok(Profile {
        kinds,
        default_kind: text(&parts.default_kind)?,
        period: period.map(|kind| (kind, parts.period)),
        began_ns: parts.began_ns,
        took_ns: parts.took_ns,
        mappings,
        locations,
        samples,
        comments: parts.comments.iter().map(text).collect::<Result<_, _>>()?,
        index: Index::default(),
    })
}

/// The messages of a profile, not read yet: they name strings and one another, which may stand behind them.
#[derive(Default)]
struct Parts<'a> {
    strings: Strings<'a>,
    kinds: Vec<&'a [u8]>,
    samples: Vec<&'a [u8]>,
    mappings: Vec<&'a [u8]>,
    locations: Vec<&'a [u8]>,
    functions: Vec<&'a [u8]>,
    began_ns: i64,
    took_ns: i64,
    period_kind: Option<&'a [u8]>,
    period: i64,
    comments: Vec<u64>,
    default_kind: u64,
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut parts, mut reader) = (Self::default(), Reader::new(bytes));
        while let Some((number, field)) = reader.next()? {
            match number {
                1 => parts.kinds.push(message(field)?),
                2 => parts.samples.push(message(field)?),
                3 => parts.mappings.push(message(field)?),
                4 => parts.locations.push(message(field)?),
                5 => parts.functions.push(message(field)?),
                6 => parts.strings.0.push(text(field)?),
                9 => parts.began_ns = value(field)? as i64,
                10 => parts.took_ns = value(field)? as i64,
                11 => parts.period_kind = Some(message(field)?),
                12 => parts.period = value(field)? as i64,
                13 => parts.comments.extend(Reader::numbers(field)?),
                14 => parts.default_kind = value(field)?,
                // 7 and 8 say what to leave out of a picture; a later version may have more.
                _ => {}
            }
        }
        Ok(parts)
    }
}

/// Texts that everything else names by their place.
#[derive(Default)]
struct Strings<'a>(Vec<&'a str>);

impl<'a> Strings<'a> {
    fn get(&self, place: u64) -> Result<&'a str, Malformed> {
        let found = usize::try_from(place).ok().and_then(|place| self.0.get(place).copied());
        // A profile of nothing may have no table.
        found.or((place == 0).then_some("")).ok_or(Malformed("a text is not in the table"))
    }
}

/// Functions by their ids: name and file.
struct Naming<'a> {
    functions: HashMap<u64, (&'a str, &'a str)>,
    /// Bytes that frames and copies of names may still have.
    left: usize,
}

fn spend(left: &mut usize, bytes: usize) -> Result<(), Malformed> {
    *left = left.checked_sub(bytes).ok_or(Malformed("the profile has too many names"))?;
    Ok(())
}

fn value(field: Field<'_>) -> Result<u64, Malformed> {
    match field {
        Field::Number(value) => Ok(value),
        Field::Fixed64(_) | Field::Bytes(_) | Field::Fixed32(_) => Err(Malformed("a number is of another kind")),
    }
}

fn message(field: Field<'_>) -> Result<&[u8], Malformed> {
    match field {
        Field::Bytes(bytes) => Ok(bytes),
        Field::Number(_) | Field::Fixed64(_) | Field::Fixed32(_) => Err(Malformed("a message is of another kind")),
    }
}

fn text(field: Field<'_>) -> Result<&str, Malformed> {
    std::str::from_utf8(message(field)?).map_err(|_| Malformed("a text is no UTF-8"))
}

fn value_type(bytes: &[u8], strings: &Strings<'_>) -> Result<(String, String), Malformed> {
    let (mut what, mut unit, mut reader) = (0, 0, Reader::new(bytes));
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => what = value(field)?,
            2 => unit = value(field)?,
            _ => {}
        }
    }
    Ok((strings.get(what)?.to_owned(), strings.get(unit)?.to_owned()))
}

/// A mapping, with its id.
fn mapping(bytes: &[u8], strings: &Strings<'_>) -> Result<(u64, Mapping), Malformed> {
    let (mut id, mut file, mut build_id, mut reader) = (0, 0, 0, Reader::new(bytes));
    let (mut start, mut end, mut offset) = (0, 0, 0);
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => id = value(field)?,
            2 => start = value(field)?,
            3 => end = value(field)?,
            4 => offset = value(field)?,
            5 => file = value(field)?,
            6 => build_id = value(field)?,
            _ => {}
        }
    }
    if id == 0 {
        return Err(Malformed("a mapping has no id"));
    }
    let (file, build_id) = (strings.get(file)?.to_owned(), strings.get(build_id)?.to_owned());
    Ok((id, Mapping { start, end, offset, file, build_id }))
}

/// Id, name and file of a function.
fn function<'a>(bytes: &[u8], strings: &Strings<'a>) -> Result<(u64, (&'a str, &'a str)), Malformed> {
    let (mut id, mut name, mut file, mut reader) = (0, 0, 0, Reader::new(bytes));
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => id = value(field)?,
            2 => name = value(field)?,
            4 => file = value(field)?,
            _ => {}
        }
    }
    Ok((id, (strings.get(name)?, strings.get(file)?)))
}

/// A location, with its id.
fn location(bytes: &[u8], mappings: &HashMap<u64, u32>, naming: &mut Naming<'_>) -> Result<(u64, Location), Malformed> {
    let (mut id, mut mapping, mut reader) = (0, 0, Reader::new(bytes));
    let (mut address, mut frames) = (0, Vec::new());
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => id = value(field)?,
            2 => mapping = value(field)?,
            3 => address = value(field)?,
            4 => frames.push(frame(message(field)?, naming)?),
            _ => {}
        }
    }
    let mapping = *mappings.get(&mapping).ok_or(Malformed("a location is in no mapping of the profile"))?;
    Ok((id, Location { address, mapping, frames }))
}

fn frame(bytes: &[u8], naming: &mut Naming<'_>) -> Result<Frame, Malformed> {
    let (mut function, mut line, mut reader) = (0, 0, Reader::new(bytes));
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => function = value(field)?,
            2 => line = value(field)?,
            _ => {}
        }
    }
    let (name, file) = *naming.functions.get(&function).ok_or(Malformed("a line is in no function of the profile"))?;
    spend(&mut naming.left, size_of::<Frame>() + name.len() + file.len())?;
    let line = u32::try_from(line).unwrap_or_default();
    Ok(Frame { function: name.to_owned(), file: file.to_owned(), line })
}

fn sample(
    bytes: &[u8],
    places: &HashMap<u64, u32>,
    left: &mut usize,
    strings: &Strings<'_>,
) -> Result<Sample, Malformed> {
    let (mut locations, mut values, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let mut reader = Reader::new(bytes);
    while let Some((number, field)) = reader.next()? {
        if matches!(field, Field::Bytes(numbers) if number < 3 && numbers.len() > STACK_MAX) {
            return Err(Malformed("a stack is too deep"));
        }
        match number {
            1 => {
                for id in Reader::numbers(field)? {
                    locations.push(*places.get(&id).ok_or(Malformed("a stack has a location that is not there"))?);
                }
            }
            2 => values.extend(Reader::numbers(field)?.into_iter().map(|value| value as i64)),
            3 => labels.extend(label(message(field)?, left, strings)?),
            _ => {}
        }
    }
    Ok(Sample { locations, values, labels })
}

/// A label and its value. `None`: the value is a number.
fn label(bytes: &[u8], left: &mut usize, strings: &Strings<'_>) -> Result<Option<(String, String)>, Malformed> {
    let (mut key, mut text, mut is_number, mut reader) = (0, 0, false, Reader::new(bytes));
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => key = value(field)?,
            2 => text = value(field)?,
            3 => is_number = true,
            _ => {}
        }
    }
    if is_number {
        return Ok(None);
    }
    let (key, text) = (strings.get(key)?, strings.get(text)?);
    spend(left, key.len() + text.len())?;
    Ok(Some((key.to_owned(), text.to_owned())))
}
