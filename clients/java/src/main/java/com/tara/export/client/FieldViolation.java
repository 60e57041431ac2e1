package com.tara.export.client;

import java.io.Serializable;

/**
 * One wrong field of a request.
 *
 * @param field the field's path in the request
 * @param description what is wrong with it, for a person
 */
public record FieldViolation(String field, String description) implements Serializable {}
