-- Typed reading of JSON values, one rule for all columns: a value of another type than the model says is no value,
-- and its field is left over.

CREATE MACRO text_of(value) AS json_extract_string(value, '$');

CREATE MACRO is_text(value) AS json_type(value) = 'VARCHAR';
CREATE MACRO is_flag(value) AS json_type(value) = 'BOOLEAN';
CREATE MACRO is_number(value) AS json_type(value) IN ('UBIGINT', 'BIGINT', 'DOUBLE');
-- `1200.0` and `1.2e3` are integers too.
CREATE MACRO whole_of(value) AS TRY_CAST(TRY_CAST(text_of(value) AS DECIMAL(38, 9)) AS BIGINT);
CREATE MACRO is_integer(value) AS
    is_number(value) AND whole_of(value) = TRY_CAST(text_of(value) AS DECIMAL(38, 9));
-- DuckDB's own cast also takes `2021-4-2`, which is not RFC 3339.
CREATE MACRO is_time(value) AS
    json_type(value) = 'VARCHAR'
    AND regexp_full_match(text_of(value), '\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)')
    AND TRY_CAST(text_of(value) AS TIMESTAMPTZ) IS NOT NULL;
CREATE MACRO elements(value) AS
    CASE json_type(value) WHEN 'ARRAY' THEN from_json(value, '["JSON"]') END;
CREATE MACRO is_list_of(value, types) AS
    json_type(value) = 'ARRAY' AND len(list_filter(elements(value), lambda e: NOT list_contains(types, json_type(e)))) = 0;
CREATE MACRO is_texts(value) AS is_list_of(value, ['VARCHAR']);
CREATE MACRO is_integers(value) AS is_list_of(value, ['UBIGINT', 'BIGINT']);

-- Whether a value is what the model says. A kind that is not listed here fits nothing: that is an unknown field.
CREATE MACRO fits(value, kind) AS coalesce(CASE kind
    WHEN 'str' THEN is_text(value)
    WHEN 'int' THEN is_integer(value)
    WHEN 'float' THEN is_number(value)
    WHEN 'bool' THEN is_flag(value)
    WHEN 'datetime' THEN is_time(value)
    WHEN 'list[str]' THEN is_texts(value)
    WHEN 'list[int]' THEN is_integers(value)
    WHEN 'objects' THEN is_list_of(value, ['OBJECT'])
    WHEN 'object' THEN json_type(value) = 'OBJECT'
    WHEN 'figures' THEN json_type(value) = 'OBJECT' OR is_list_of(value, ['OBJECT'])
END, false);

CREATE MACRO read_str(value) AS CASE WHEN is_text(value) THEN text_of(value) END;
CREATE MACRO read_int(value) AS CASE WHEN is_integer(value) THEN whole_of(value) END;
CREATE MACRO read_float(value) AS CASE WHEN is_number(value) THEN CAST(text_of(value) AS DOUBLE) END;
CREATE MACRO read_bool(value) AS CASE WHEN is_flag(value) THEN CAST(text_of(value) AS BOOLEAN) END;
CREATE MACRO read_datetime(value) AS CASE WHEN is_time(value) THEN CAST(text_of(value) AS TIMESTAMPTZ) END;
CREATE MACRO read_strs(value) AS CASE WHEN is_texts(value) THEN from_json(value, '["VARCHAR"]') END;
CREATE MACRO read_ints(value) AS CASE WHEN is_integers(value) THEN from_json(value, '["BIGINT"]') END;

-- Objects taken apart and put together again, as text.
CREATE MACRO entries_of(object) AS map_entries(from_json(object, '"MAP(VARCHAR, JSON)"'));
CREATE MACRO member(name, value) AS to_json(name)::VARCHAR || ':' || value::VARCHAR;
CREATE MACRO object_of(members) AS '{' || array_to_string(members, ',') || '}';

-- What makes two values of `extra`, or two maps, the same whatever the order of their members.
CREATE MACRO canonical_json(text) AS
    list_sort(list_transform(entries_of(text::JSON), lambda e: member(e.key, coalesce(e.value, 'null'::JSON))));
CREATE MACRO canonical_map(entries) AS list_sort(map_entries(entries));

-- The figures of the two paging dialects by name, also where they come as a list of statistics.
CREATE MACRO figures_of(metrics) AS CASE json_type(metrics)
    WHEN 'ARRAY' THEN object_of(list_transform(elements(metrics), lambda e: member(text_of(json_extract(e, '$.metric')), json_extract(e, '$.stats'))))::JSON
    ELSE metrics
END;
-- A figure: `{"total": 7}`, `{"sum": 7}` or plain `7`.
CREATE MACRO figure_of(value) AS CASE
    WHEN is_number(json_extract(value, '$.total')) THEN json_extract(value, '$.total')
    WHEN is_number(json_extract(value, '$.sum')) THEN json_extract(value, '$.sum')
    ELSE value
END;
CREATE MACRO total_of(value) AS CASE json_type(value) WHEN 'OBJECT' THEN value -> 'total' ELSE value END;
