package com.tara.export.client;

import java.io.Serializable;

/**
 * One invalid field of a request.
 *
 * @param field the field's path in the request
 * @param description human-readable description of the problem
 */
public record FieldViolation(String field, String description) implements Serializable {}
