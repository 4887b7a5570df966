-- The trace that a run is part of, as the caller's propagator wrote it.

alter table pgflow.runs
  add column trace jsonb,                    -- {"traceparent": "00-…", …}; null: nobody traced the start
  add constraint trace_is_small check (trace is null or jsonb_typeof(trace) = 'object' and pg_column_size(trace) <= 16384) not valid;   -- validated by 0025
