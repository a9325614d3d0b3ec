package io.transom.worker;

import io.transom.BatchFunction;
import io.transom.RowFunction;
import io.transom.ScalarFunction;
import io.transom.worker.Failure.Code;
import java.io.File;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Modifier;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.jar.JarFile;

/** Finds and makes functions: by class name, or by simple name among what jars provide to {@link ServiceLoader}. */
final class Loader {
  private static final List<Class<?>> KINDS = List.of(ScalarFunction.class, RowFunction.class, BatchFunction.class);
  private static final int CANDIDATES = 10;

  /** One class loader for each set of jars, so that the functions of one set see each other's classes and static fields, on all threads. */
  private static final Map<List<String>, ClassLoader> LOADERS = new HashMap<>();

  private final List<String> jars;
  private final ClassLoader classes;

  private Loader(List<String> jars) {
    this.jars = jars;
    this.classes = loaderOf(jars);
  }

  /** The class that the name stands for. */
  static Class<?> find(String name, List<String> jars) {
    return new Loader(jars).find(name);
  }

  private static ClassLoader loaderOf(List<String> jars) {
    // The worker's own loader is the parent, so functions and worker share one arrow-java.
    ClassLoader parent = Loader.class.getClassLoader();
    if (jars.isEmpty()) {
      return parent;
    }
    synchronized (LOADERS) {
      return LOADERS.computeIfAbsent(List.copyOf(jars), set -> new URLClassLoader(set.stream().map(Loader::url).toArray(URL[]::new), parent));
    }
  }

  private static URL url(String path) {
    File file = new File(path);
    if (!file.exists()) {
      throw Failure.of(Code.FUNCTION_NOT_FOUND, "the jar " + path + " does not exist", "build it first, or correct the path");
    }
    try {
      return file.toURI().toURL();
    } catch (MalformedURLException error) {
      throw Failure.of(Code.FUNCTION_NOT_FOUND, path + " is not a path that Java can read from", error, null);
    }
  }

  private Class<?> find(String name) {
    Class<?> found;
    try {
      found = Class.forName(name, true, classes);
    } catch (ClassNotFoundException missing) {
      found = provided(name);
    } catch (LinkageError error) {
      Throwable cause = error instanceof ExceptionInInitializerError && error.getCause() != null ? error.getCause() : error;
      throw loadFailed(name, cause);
    }
    Class<?> checked = found;
    long kinds = KINDS.stream().filter(kind -> kind.isAssignableFrom(checked)).count();
    if (kinds == 0) {
      throw Failure.of(
          Code.FUNCTION_NOT_CALLABLE,
          "`" + found.getName() + "` is no ScalarFunction, RowFunction or BatchFunction",
          "implement one of these interfaces of io.transom");
    }
    if (kinds > 1) {
      throw Failure.of(Code.FUNCTION_SIGNATURE, "`" + found.getName() + "` is of more than one kind", "implement one of the interfaces");
    }
    return found;
  }

  private static Failure loadFailed(String name, Throwable cause) {
    String hint = null;
    if (cause instanceof NoClassDefFoundError || cause instanceof ClassNotFoundException) {
      hint = "add the jar that has the missing class to the function's jars";
    } else if (cause instanceof UnsupportedClassVersionError) {
      hint = "compile the function for Java " + Runtime.version().feature() + ", or give workers a newer java";
    }
    String said = cause.getClass().getName() + ": " + Report.message(cause);
    return Failure.of(Code.FUNCTION_IMPORT_FAILED, "loading `" + name + "` failed with " + said, cause, hint);
  }

  /** What services stand in the jars, by class name. */
  private SortedMap<String, Class<?>> services() {
    SortedMap<String, Class<?>> found = new TreeMap<>();
    for (Class<?> kind : KINDS) {
      try {
        ServiceLoader.load(kind, classes).stream().forEach(provider -> found.put(provider.type().getName(), provider.type()));
      } catch (ServiceConfigurationError error) {
        String said = "the services of " + kind.getName() + " cannot be read: " + Report.message(error);
        throw Failure.of(Code.FUNCTION_IMPORT_FAILED, said, error, "correct META-INF/services/" + kind.getName());
      }
    }
    return found;
  }

  private Class<?> provided(String name) {
    SortedMap<String, Class<?>> services = services();
    List<Class<?>> same = services.values().stream().filter(type -> type.getSimpleName().equals(name)).<Class<?>>map(type -> type).toList();
    if (same.size() == 1) {
      return same.get(0);
    }
    if (same.size() > 1) {
      String all = String.join(", ", same.stream().map(Class::getName).toList());
      throw Failure.of(Code.FUNCTION_NOT_FOUND, "`" + name + "` is the name of more than one function: " + all, "write the whole class name");
    }
    String where = jars.isEmpty() ? "on the workers' class path" : "in " + String.join(", ", jars);
    throw Failure.of(Code.FUNCTION_NOT_FOUND, "there is no class `" + name + "` " + where, near(name, services));
  }

  /** What the caller may have meant: classes of the same simple name, or what the jars provide. */
  private String near(String name, SortedMap<String, Class<?>> services) {
    String simple = name.substring(name.lastIndexOf('.') + 1);
    List<String> candidates = new ArrayList<>();
    for (String jar : jars) {
      candidates.addAll(classesNamed(simple, jar));
    }
    if (candidates.isEmpty()) {
      candidates.addAll(services.keySet());
    }
    if (candidates.isEmpty()) {
      return "name a class with its package, such as com.acme.PlusOne, and give the jar that it is in";
    }
    return "functions there: " + String.join(", ", candidates.subList(0, Math.min(candidates.size(), CANDIDATES)));
  }

  private static List<String> classesNamed(String simple, String jar) {
    String suffix = simple + ".class";
    try (JarFile file = new JarFile(jar)) {
      return file.stream()
          .map(entry -> entry.getName())
          .filter(entry -> entry.substring(Math.max(entry.lastIndexOf('/'), entry.lastIndexOf('$')) + 1).equalsIgnoreCase(suffix))
          .map(entry -> entry.substring(0, entry.length() - ".class".length()).replace('/', '.'))
          .toList();
    } catch (IOException notAJar) {
      return List.of(); // a folder of classes: names are only a help
    }
  }

  /** An instance: by the constructor without parameters, or the one that a Kotlin or Scala object is. */
  static Object instance(Class<?> type) {
    try {
      for (String field : List.of("INSTANCE", "MODULE$")) {
        Object only = onlyInstance(type, field);
        if (only != null) {
          return only;
        }
      }
      Constructor<?> constructor = type.getDeclaredConstructor();
      constructor.setAccessible(true);
      return constructor.newInstance();
    } catch (InvocationTargetException error) {
      Throwable cause = error.getCause();
      String said = cause.getClass().getName() + ": " + Report.message(cause);
      throw Failure.of(Code.FUNCTION_IMPORT_FAILED, "making `" + type.getName() + "` failed with " + said, cause, null);
    } catch (ExceptionInInitializerError error) {
      throw loadFailed(type.getName(), error.getCause() == null ? error : error.getCause());
    } catch (ReflectiveOperationException | LinkageError error) {
      throw Failure.of(
          Code.FUNCTION_NOT_CALLABLE,
          "`" + type.getName() + "` cannot be made: " + Report.message(error),
          "give the class a constructor without parameters; make it neither abstract nor an inner class");
    }
  }

  private static Object onlyInstance(Class<?> type, String name) throws IllegalAccessException {
    try {
      var field = type.getDeclaredField(name);
      if (!Modifier.isStatic(field.getModifiers()) || field.getType() != type) {
        return null;
      }
      field.setAccessible(true);
      return field.get(null);
    } catch (NoSuchFieldException none) {
      return null;
    }
  }
}
