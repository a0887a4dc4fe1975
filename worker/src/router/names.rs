//! Names of handlers and of middleware, as their types tell them.

use super::place::Place;

/// Begins the name of a closure.
const CLOSURE: &str = "closure in ";

/// A handler's name.
#[derive(Debug, Clone)]
pub(super) struct HandlerName {
    /// In the records and of the handler's span: short, or what the application says.
    pub(super) told: String,
    /// The function with its modules. Of a closure it is the function that it stands in.
    pub(super) function: &'static str,
}

impl HandlerName {
    /// Names a handler of this type.
    pub(super) fn of<H>() -> Self {
        Self { told: short_name::<H>(), function: std::any::type_name::<H>() }
    }

    /// The same of a route that is given there: by this a closure is told.
    pub(super) fn at(mut self, place: Place) -> Self {
        if let Place::Code(code) = place
            && self.told.starts_with(CLOSURE)
        {
            self.told = format!("closure at {}:{}", code.file(), code.line());
        }
        self
    }
}

/// A type's or a function's name, without the modules and types that it is made with. Of a closure it is the function that it stands
/// in; one of this library's has that function's name.
pub(crate) fn short_name<T>() -> String {
    let name = std::any::type_name::<T>();
    let name = name.split('<').next().unwrap_or(name);
    let last = name.split("::").filter(|part| !part.starts_with('{')).last().unwrap_or(name);
    let is_closure = name.ends_with("{{closure}}") && !name.starts_with("gin_worker::");
    if is_closure { format!("{CLOSURE}{last}") } else { last.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Some<T>(std::marker::PhantomData<T>);

    fn of<T>(_: &T) -> String {
        short_name::<T>()
    }

    #[test]
    fn names_are_short() {
        fn plain() {}
        assert_eq!(of(&plain), "plain");
        // It stands in this library.
        assert_eq!(of(&|| ()), "names_are_short");
        assert_eq!(short_name::<Some<Vec<u8>>>(), "Some");
    }
}
