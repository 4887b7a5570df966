-- ERRORS: what the core raises has a SQLSTATE of class PF; errors.py holds the same table.
create or replace function pgflow.raise(code text, message text, hint text default null) returns void
language plpgsql as $$
begin
  if hint is null then
    raise exception using errcode = code, message = message;
  end if;
  raise exception using errcode = code, message = message, hint = hint;
end
$$;
