//! Decoding of untrusted bytes within a memory budget.
//!
//! A [`Metered`] deserializer charges the cost of each text, list element and map entry to a
//! [`Meter`] before the decoder keeps it, and fails once the budget is exceeded. It works for every
//! serde format. The costs are those of `ExportContent::footprint_bytes`.

use std::{cell::Cell, fmt, marker::PhantomData};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::footprint::{list_bytes_of, map_bytes_of, text_bytes};

/// The remaining budget of a decoding.
pub(super) struct Meter {
    remaining_bytes: Cell<u64>,
    is_exceeded: Cell<bool>,
}

impl Meter {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self { remaining_bytes: Cell::new(budget_bytes), is_exceeded: Cell::new(false) }
    }

    /// Whether decoding failed because of the budget.
    pub(super) fn is_exceeded(&self) -> bool {
        self.is_exceeded.get()
    }

    fn charge<E: serde::de::Error>(&self, cost_bytes: u64) -> Result<(), E> {
        match self.remaining_bytes.get().checked_sub(cost_bytes) {
            Some(remaining_bytes) => {
                self.remaining_bytes.set(remaining_bytes);
                Ok(())
            }
            None => {
                self.is_exceeded.set(true);
                Err(E::custom("the memory budget is exceeded"))
            }
        }
    }
}

/// A deserializer, visitor, seed or access that charges a meter.
pub(super) struct Metered<'m, T> {
    inner: T,
    meter: &'m Meter,
    shape: Shape,
}

/// The kind of value that is decoded, which determines its cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Value,
    /// Its keys are field names, which are compared but not kept.
    Struct,
    /// The name of a field or variant.
    Identifier,
}

impl<'m, T> Metered<'m, T> {
    pub(super) fn new(inner: T, meter: &'m Meter) -> Self {
        Self { inner, meter, shape: Shape::Value }
    }
}

macro_rules! deserialize {
    ($($method:ident($($argument:ident: $type:ty),*) as $shape:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self $(, $argument: $type)*, visitor: V) -> Result<V::Value, D::Error> {
            let visitor = Metered { inner: visitor, meter: self.meter, shape: Shape::$shape };
            self.inner.$method($($argument,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Metered<'_, D> {
    type Error = D::Error;

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    deserialize! {
        deserialize_any() as Value;
        deserialize_bool() as Value;
        deserialize_i8() as Value;
        deserialize_i16() as Value;
        deserialize_i32() as Value;
        deserialize_i64() as Value;
        deserialize_i128() as Value;
        deserialize_u8() as Value;
        deserialize_u16() as Value;
        deserialize_u32() as Value;
        deserialize_u64() as Value;
        deserialize_u128() as Value;
        deserialize_f32() as Value;
        deserialize_f64() as Value;
        deserialize_char() as Value;
        deserialize_str() as Value;
        deserialize_string() as Value;
        deserialize_bytes() as Value;
        deserialize_byte_buf() as Value;
        deserialize_option() as Value;
        deserialize_unit() as Value;
        deserialize_unit_struct(name: &'static str) as Value;
        deserialize_newtype_struct(name: &'static str) as Value;
        deserialize_seq() as Value;
        deserialize_tuple(length: usize) as Value;
        deserialize_tuple_struct(name: &'static str, length: usize) as Value;
        deserialize_map() as Value;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) as Struct;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) as Value;
        deserialize_identifier() as Identifier;
        deserialize_ignored_any() as Identifier;
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<V> Metered<'_, V> {
    fn charge_text<E: serde::de::Error>(&self, length: usize) -> Result<(), E> {
        match self.shape {
            Shape::Identifier => Ok(()),
            Shape::Value | Shape::Struct => self.meter.charge(text_bytes(length)),
        }
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Metered<'_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(formatter)
    }

    visit! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<V::Value, E> {
        self.charge_text(text.len())?;
        self.inner.visit_str(text)
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<V::Value, E> {
        self.charge_text(text.len())?;
        self.inner.visit_borrowed_str(text)
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<V::Value, E> {
        self.charge_text(text.len())?;
        self.inner.visit_string(text)
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<V::Value, E> {
        self.charge_text(bytes.len())?;
        self.inner.visit_bytes(bytes)
    }

    fn visit_borrowed_bytes<E: serde::de::Error>(self, bytes: &'de [u8]) -> Result<V::Value, E> {
        self.charge_text(bytes.len())?;
        self.inner.visit_borrowed_bytes(bytes)
    }

    fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<V::Value, E> {
        self.charge_text(bytes.len())?;
        self.inner.visit_byte_buf(bytes)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Metered::new(inner, self.meter))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(Metered::new(inner, self.meter))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(MeteredList { inner, meter: self.meter, length: 0 })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(MeteredMap {
            inner,
            meter: self.meter,
            is_struct: self.shape == Shape::Struct,
            length: 0,
            key_bytes: 0,
        })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Metered::new(inner, self.meter))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Metered<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Metered::new(deserializer, self.meter))
    }
}

struct MeteredList<'m, A> {
    inner: A,
    meter: &'m Meter,
    length: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for MeteredList<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        let element = self.inner.next_element_seed(Metered::new(seed, self.meter))?;
        if element.is_some() {
            let bytes = size_of::<T::Value>();
            let previous_bytes = list_bytes_of(bytes, self.length);
            self.length += 1;
            self.meter.charge(list_bytes_of(bytes, self.length) - previous_bytes)?;
        }
        Ok(element)
    }

    /// `None`: a length in untrusted bytes must not cause an allocation.
    fn size_hint(&self) -> Option<usize> {
        None
    }
}

struct MeteredMap<'m, A> {
    inner: A,
    meter: &'m Meter,
    is_struct: bool,
    length: usize,
    key_bytes: usize,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for MeteredMap<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        self.key_bytes = size_of::<K::Value>();
        self.inner.next_key_seed(Metered::new(seed, self.meter))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let value = self.inner.next_value_seed(Metered::new(seed, self.meter))?;
        if !self.is_struct {
            let bytes = self.key_bytes + size_of::<V::Value>();
            let previous_bytes = map_bytes_of(bytes, self.length);
            self.length += 1;
            self.meter.charge(map_bytes_of(bytes, self.length) - previous_bytes)?;
        }
        Ok(value)
    }

    fn size_hint(&self) -> Option<usize> {
        None
    }
}

impl<'m, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Metered<'m, A> {
    type Error = A::Error;
    type Variant = Metered<'m, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, Metered::new(variant, self.meter)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Metered<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(Metered::new(seed, self.meter))
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(length, Metered::new(visitor, self.meter))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = Metered { inner: visitor, meter: self.meter, shape: Shape::Struct };
        self.inner.struct_variant(fields, visitor)
    }
}

/// Decodes a value of any type within the budget of the meter.
pub(super) fn read<'de, T: serde::Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    meter: &Meter,
) -> Result<T, D::Error> {
    PhantomData::<T>.deserialize(Metered::new(deserializer, meter))
}
