//! The numbers of arguments that a handler may have.

/// Has a macro say something of each number of arguments, from none to 16, by their names.
macro_rules! for_each_arity {
    ($each:ident) => {
        $each!();
        $each!(A1);
        $each!(A1 A2);
        $each!(A1 A2 A3);
        $each!(A1 A2 A3 A4);
        $each!(A1 A2 A3 A4 A5);
        $each!(A1 A2 A3 A4 A5 A6);
        $each!(A1 A2 A3 A4 A5 A6 A7);
        $each!(A1 A2 A3 A4 A5 A6 A7 A8);
        $each!(A1 A2 A3 A4 A5 A6 A7 A8 A9);
        $each!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10);
        $each!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11);
        $each!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12);
        $each!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13);
        $each!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14);
        $each!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15);
        $each!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15 A16);
    };
}

pub(super) use for_each_arity;
